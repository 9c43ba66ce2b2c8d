"""Types and ranges of the arguments that a config passes to what it calls: annotations of this package, and a table."""

import inspect
from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from detectron2.utils.registry import locate
from omegaconf import DictConfig, ListConfig, OmegaConf
from pydantic import (
    ConfigDict,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    Strict,
    TypeAdapter,
    ValidationError,
)
from torch import nn

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
    "freeze_at": Annotated[int, Field(ge=0, le=5)],
    "pixel_std": list[PositiveFloat],
    "crop_size": list[PositiveFloat],
    "short_edge_length": PositiveInt | list[PositiveInt],
}


def faults_of_calls(node: Any, path: str) -> Iterator[str]:
    """Compare the arguments of this package's LazyCalls with the annotations of what they call."""
    if isinstance(node, ListConfig):
        children: Any = enumerate(node)
    elif isinstance(node, DictConfig):
        children = ((key, node[key]) for key in node if not OmegaConf.is_missing(node, key))
    else:
        return
    annotations = _annotations(node)
    checked = {name: _written(type_) for name, type_ in annotations.items() if _is_plain(type_)} | _ranges(node)
    for key, value in children:
        where = f"{path}.{key}" if path else str(key)
        yield from faults_of_calls(value, where)
        if _wants_module(annotations.get(key), value) and not _calls(value):
            yield f"{where} is {value!r}, expected what builds a module, L(...)(...)"
        if key in checked and not _calls(value):
            value = OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
            try:
                TypeAdapter(checked[key], config=ConfigDict(strict=True)).validate_python(value)
            except ValidationError as error:
                wanted = " or ".join(dict.fromkeys(expected(fault) for fault in error.errors()))
                yield f"{where} is {value!r}, {wanted}"


def expected(fault: Any) -> str:
    """Return what a fault of pydantic expects, in our words."""
    return str(fault["msg"]).replace("Input should be", "expected").replace("String should", "expected a text to")


def _wants_module(annotation: Any, value: Any) -> bool:
    """Return whether an argument must be a module, or may be one, and the value cannot build it."""
    if annotation is nn.Module:
        return not isinstance(value, nn.Module)
    kinds = get_args(annotation)
    return nn.Module in kinds and isinstance(value, str | int | float) and type(value) not in kinds


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


def _is_plain(annotation: Any) -> bool:
    """Return whether an annotation consists only of numbers, strings, lists and the like, which a config can write."""
    if get_origin(annotation) is not None or get_args(annotation):
        return "collections.abc.Callable" not in str(annotation) and all(map(_is_plain, get_args(annotation)))
    return annotation in (int, float, str, bool, type(None), Ellipsis)


def _written(annotation: Any) -> Any:
    """Return an annotation whose tuples may be lists, because a config keeps a tuple as a list."""
    parts = tuple(map(_written, get_args(annotation)))
    if not parts:
        return annotation
    origin: Any = get_origin(annotation)
    rebuilt = (Union if origin is UnionType else origin)[parts]
    return Annotated[rebuilt, Strict(False)] if origin is tuple else rebuilt


def _calls(value: Any) -> bool:
    if isinstance(value, DictConfig):
        return "_target_" in value or any(_calls(v) for v in value.values())
    return isinstance(value, ListConfig) and any(map(_calls, value))
