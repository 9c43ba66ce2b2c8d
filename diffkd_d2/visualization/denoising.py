"""Draw the denoising strip: the student's feature after each step of the denoiser, up to the teacher's latent."""

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
import torch
from detectron2.utils.events import EventStorage
from torch import Tensor, nn

from ..distillers import DiffKD
from ..meta_arch.distill_point import DistillPoint
from ..meta_arch.distilled_model import DistilledModel
from .similarity import CommonColours, cka, cosine, positions

if TYPE_CHECKING:
    from matplotlib.figure import Figure  # it takes a second, so only runs that draw import it

Steps = list[tuple[str, Tensor]]


class Pair(NamedTuple):
    """Inputs of a distiller: features (N, C, H, W) or rows (N, C), and the mask (N, 1, H, W) or None."""

    distiller: nn.Module
    student: Tensor
    teacher: Tensor
    mask: Tensor | None


def distiller_inputs(model: DistilledModel, batch: Any) -> dict[str, Pair]:
    """Return the inputs of each point's distiller for a training batch, by point name.

    Points with several levels are left out. The pass in training mode updates running statistics: call this function
    inside `engine.undo.unchanged`.
    """
    seen: dict[str, Pair] = {}

    def keep(name: str, distiller: nn.Module, args: tuple[Any, ...]) -> None:
        if isinstance(args[0], Tensor):
            seen[name] = Pair(distiller, *args[:3])

    handles = [
        point.distiller.register_forward_pre_hook(lambda m, args, name=point.name: keep(name, m, args))
        for point in model.points
        if isinstance(point, DistillPoint)
    ]
    try:
        with torch.no_grad(), EventStorage():
            model(batch)
    finally:
        for handle in handles:
            handle.remove()
    return seen


@torch.no_grad()
def denoising_steps(pair: Pair) -> Steps:
    """Return the named features (N, C, H, W) from student to teacher.

    Args:
        pair: inputs of a DiffKD on feature maps.
    """
    distiller = cast(DiffKD, pair.distiller)
    latent, _ = distiller.encode(pair.teacher, pair.mask)
    feature = distiller.align(pair.student)
    x, _ = distiller.noise_matcher(feature, torch.randn_like(feature))
    steps = [("student", feature), ("noisy", x)]
    for t, t_prev in pairwise([*distiller.timesteps, -1]):
        predicted = distiller.denoiser(x, torch.full((1,), t, device=x.device))
        x = distiller.schedule.ddim_step(x, predicted, t, t_prev)
        steps.append((f"step {t}", x))
    return [*steps, ("refined", distiller.proj(x)), ("teacher", latent)]


def has_strip(pair: Pair) -> bool:
    """Return whether the pair is one of feature maps with DiffKD."""
    return isinstance(pair.distiller, DiffKD) and not pair.distiller.logits and pair.student.dim() == 4


def strip(pairs: dict[str, Pair], images: Sequence[np.ndarray]) -> "Figure | None":
    """Draw a row for each image and level: PCA colours of all steps, with their similarity to the teacher.

    All colours of a level use the teacher's scale. PCA axes, cosine similarity and CKA use the whole batch, because CKA
    is high for any pair with few positions.

    Args:
        pairs: result of `distiller_inputs`.
        images: first images of the batch, RGB (H, W, 3).

    Returns:
        the figure, or None if no point is a DiffKD on maps.
    """
    levels = {name: (denoising_steps(pair), pair.mask) for name, pair in pairs.items() if has_strip(pair)}
    if not levels:
        return None

    from matplotlib.figure import Figure

    columns = 1 + max(len(steps) for steps, _ in levels.values())
    rows = [(i, name) for i in range(len(images)) for name in levels]
    figure = Figure(figsize=(1.35 * columns, 1.75 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for row, (i, name) in zip(axes, rows, strict=True):
        _fill_row(row, *levels[name], i, images[i], name)
    return figure


def _fill_row(row: np.ndarray, steps: Steps, mask: Tensor | None, i: int, image: np.ndarray, name: str) -> None:
    target = positions(steps[-1][1], mask)
    colours = CommonColours(target)
    for axis in row:
        axis.set_xticks([])
        axis.set_yticks([])
        axis.set_visible(False)
    row[0].imshow(image, interpolation="bicubic")
    row[0].set_title(name, fontsize=8)
    row[0].set_visible(True)
    for axis, (title, feature) in zip(row[1:], steps, strict=False):
        axis.set_visible(True)
        axis.imshow(colours(feature[i]).cpu().numpy(), interpolation="nearest")
        axis.set_title(title, fontsize=8)
        rows = positions(feature, mask)
        axis.set_xlabel(f"cos {cosine(rows, target):.2f}\nCKA {cka(rows, target):.2f}", fontsize=7)
