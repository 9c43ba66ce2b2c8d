"""Types and ranges of the arguments that a config passes to what it calls: annotations of this package, and a table."""

import inspect
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from detectron2.utils.registry import locate
from omegaconf import DictConfig, ListConfig, OmegaConf
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from .annotations import misfit, strict_misfit

LIBRARIES = ("detectron2", "diffkd_d2", "timm")
Fraction = Annotated[float, Field(ge=0, le=1)]

# Arguments of Detectron2, timm and this package that have a range wherever a config calls something with them.
ARGUMENTS: dict[str, Any] = {
    **dict.fromkeys(("num_classes", "num_anchors", "num_keypoints", "batch_size_per_image", "max_size"), PositiveInt),
    **dict.fromkeys(("test_score_thresh", "test_nms_thresh", "nms_thresh", "positive_fraction", "prob"), Fraction),
    **dict.fromkeys(("label_smoothing", "single_category_max_area"), Fraction),
    **dict.fromkeys(("min_scale", "max_scale"), PositiveFloat),
    **dict.fromkeys(("mixup_alpha", "cutmix_alpha", "focal_loss_gamma"), NonNegativeFloat),
    "prior_prob": Annotated[float, Field(gt=0, lt=1)],
    "instance_mask_format": Literal["polygon", "bitmask"],
    "freeze_at": Annotated[int, Field(ge=0, le=5)],
    "pixel_std": list[PositiveFloat],
    "crop_size": list[PositiveFloat],
    "short_edge_length": PositiveInt | list[PositiveInt],
}


def faults_of_calls(node: Any, path: str) -> Iterator[str]:
    """Compare the arguments of LazyCalls with the annotations of what they call, or with `ARGUMENTS`."""
    if isinstance(node, ListConfig):
        children: Any = enumerate(node)
    elif isinstance(node, DictConfig):
        children = ((key, node[key]) for key in node if not OmegaConf.is_missing(node, key))
    else:
        return
    annotations = _annotations(node)
    ranges = _ranges(node)
    for key, value in children:
        where = f"{path}.{key}" if path else str(key)
        yield from faults_of_calls(value, where)
        if _calls(value) or key not in annotations | ranges:
            continue
        value = OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
        wanted = strict_misfit(ranges[key], value) if key in ranges else misfit(annotations[key], value)
        if wanted:
            yield f"{where} is {value!r}, {wanted}"


def _annotations(node: Any) -> dict[str, Any]:
    """Return the annotations of what a node calls if it is this package's."""
    target, package = _target(node)
    if package != "diffkd_d2":
        return {}
    parameters = inspect.signature(target).parameters.values()
    return {p.name: p.annotation for p in parameters if p.kind is not p.VAR_KEYWORD}


def _ranges(node: Any) -> dict[str, Any]:
    """Return the ranges of a node's arguments if it calls something of a library."""
    return {name: ARGUMENTS[name] | None for name in ARGUMENTS if name in node and _target(node)[1] in LIBRARIES}


def _target(node: Any) -> tuple[Any, str]:
    """Return what a node calls and its top package; None and "" if it calls nothing."""
    target: Any = node.get("_target_") if isinstance(node, DictConfig) else None
    target = locate(target) if isinstance(target, str) else target
    return target, str(getattr(target, "__module__", "")).partition(".")[0]


def _calls(value: Any) -> bool:
    if isinstance(value, DictConfig):
        return "_target_" in value or any(_calls(v) for v in value.values())
    return isinstance(value, ListConfig) and any(map(_calls, value))
