"""What a file of `recipes/` defines: which distiller a method uses, where, and with which published settings."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from torch import nn

from .places import WHERE, Place


@dataclass(frozen=True)
class Setting:
    """The settings of a method for one family of models.

    Args:
        weight: factor on the losses of each point.
        where: words of `WHERE`.
        levels: names of the feature levels. If None, all that both models have.
        options: arguments of the distiller.
    """

    weight: float = 1.0
    where: tuple[str, ...] = ("features",)
    levels: tuple[str, ...] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Recipe:
    """A distillation method, as `--method` names it.

    Args:
        name: name of the method.
        distiller: function (place, **options) that returns `partial(Distiller, ...)`, or None if the method does not
            apply to that place. If `joint`, it takes a list of places.
        default: setting for a family without a published one.
        published: published setting of each family (see `family`).
        joint: whether one distiller takes all levels, as lists.
        scores: whether the distiller needs the teacher's class scores at the same positions.
        point: function of a place that returns further options of its `DistillPoint`.
        instead: what to do where the method does not apply, for messages.
    """

    name: str
    distiller: Callable[..., "partial[Any] | None"]
    default: Setting = Setting()
    published: Mapping[str, Setting] = field(default_factory=dict)
    joint: bool = False
    scores: bool = False
    point: Callable[[Place], dict[str, Any]] = lambda place: {}
    instead: str = f"set distill.where to some of {', '.join(WHERE)} or paths of modules, or list model.points"


def aligned(distiller: type[nn.Module]) -> Callable[..., "partial[nn.Module]"]:
    """Return a recipe's `distiller` for a class that takes `student_channels` and `teacher_channels`."""

    def make(place: Place, **options: Any) -> "partial[nn.Module]":
        channels = dict(student_channels=place.student_channels, teacher_channels=place.teacher_channels)
        return partial(distiller, **channels, **options)

    return make


def on_softmax(name: str, distiller: type[nn.Module], **more: Any) -> Recipe:
    """Return a recipe for a class that compares softmax logits; it refuses those of a dense head, which are sigmoid."""

    def make(place: Place, **options: Any) -> "partial[nn.Module] | None":
        return None if place.kind == "head" else partial(distiller, **options)

    instead = "take a method on features such as diffkd or mimic; qfkd is for dense heads, as of RetinaNet and FCOS"
    return Recipe(name, make, **{"default": Setting(where=("logits",)), "instead": instead, **more})
