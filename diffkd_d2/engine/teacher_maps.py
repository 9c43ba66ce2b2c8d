"""Measure how much a teacher's maps vary; a map that is equal for every image teaches nothing."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

logger = logging.getLogger(__name__)

# For the models of `shapes`, trained FPN levels have shares of 0.4 to 0.7, random weights 0.05 to 0.4.
LOWEST = 0.01


@dataclass
class Variance:
    """Variances of a teacher's feature, as shares of its mean square.

    Attributes:
        shape: shape of the feature.
        positions: over the positions of an image, averaged over images and channels; None for logits.
        images: between images, averaged over positions and channels; None for a single image.
    """

    shape: tuple[int, ...]
    positions: float | None
    images: float | None


def variance_of(feature: Tensor, mask: Tensor | None = None) -> Variance:
    """Measure a feature.

    Args:
        feature: (N, C, H, W), or (N, C) whose rows count as images.
        mask: (N, 1, H, W), 1 inside the image. If None, all positions count.
    """
    shape = tuple(feature.shape)
    x = feature.double().reshape(*shape[:2], -1)  # N, C, positions
    inside = x.new_ones(len(x), 1, x.shape[2]) if mask is None else mask.to(x).reshape(len(x), 1, -1)
    count = inside.sum(dim=2, keepdim=True).clamp(min=1)
    scale = (x.square().mean(dim=1, keepdim=True) * inside).sum() / inside.sum().clamp(min=1)
    scale = scale.clamp(min=torch.finfo(x.dtype).tiny)
    mean = (x * inside).sum(dim=2, keepdim=True) / count
    over_positions = ((x - mean).square() * inside).sum(dim=2, keepdim=True) / count
    common = inside.amin(dim=0)[0] > 0  # positions inside every image
    between = x[:, :, common].var(dim=0, unbiased=False).mean() / scale if len(x) > 1 and common.any() else None
    return Variance(
        shape,
        None if len(shape) == 2 else float(over_positions.mean() / scale),
        None if between is None else float(between),
    )


@contextmanager
def watch_teacher_maps(points: Iterable[Any]) -> Iterator[dict[str, list[Variance]]]:
    """Measure the teacher's maps that the distillers get inside the block.

    Yields:
        a dict that is filled when the block ends: point name -> variances, one per level.
    """
    measured: dict[str, list[Variance]] = {}
    pairs: list[tuple[Any, Any]] = []

    def record(module: nn.Module, args: tuple[Any, ...]) -> None:
        pairs.append((args[1], args[2] if len(args) > 2 else None))

    # A distiller may serve several points, which run in their order.
    handles = [d.register_forward_pre_hook(record) for d in dict.fromkeys(p.distiller for p in points)]
    try:
        yield measured
    finally:
        for handle in handles:
            handle.remove()
    for point, (maps, masks) in zip(points, pairs, strict=False):
        maps = [maps] if isinstance(maps, Tensor) else list(maps)
        masks = masks if isinstance(masks, list | tuple) else [masks] * len(maps)
        measured[point.name] = [variance_of(*pair) for pair in zip(maps, masks, strict=True) if pair[0].dim() in (2, 4)]


def report_teacher_maps(measured: dict[str, list[Variance]]) -> None:
    """Log the variances of each point; warn if a map hardly varies over positions or between images."""
    for name, of_point in measured.items():
        for map_ in of_point:
            shares = {"over positions": map_.positions, "between images": map_.images}
            known = {what: share for what, share in shares.items() if share is not None}
            words = ", ".join(f"{share:.2g} {what}" for what, share in known.items())
            logger.info(f"point '{name}': the teacher's map {map_.shape} varies by {words or 'nothing known'}")
            dead = [what for what, share in known.items() if share < LOWEST]
            if dead:
                logger.warning(
                    f"DEAD LEVEL: the teacher's map at point '{name}' hardly varies {' nor '.join(dead)} ({words}, as "
                    f"shares of its mean square, expected at least {LOWEST}): it teaches the student nothing. Drop the "
                    "point, or look at the teacher"
                )
