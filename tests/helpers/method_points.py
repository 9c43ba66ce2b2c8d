"""Every method on every family of models that it fits, in small.

python tests/helpers/method_points.py       # train each for two steps; print the table of docs/methods.md
"""

from collections.abc import Callable

import torch
from detectors import CLASSES, FASTER, FPN, RETINANET, SEMANTIC, build, train_two_steps
from small_models import deeplab_v3, fcos
from torch import nn

from diffkd_d2.distillers import (
    DIST,
    DKD,
    KD,
    ChannelWise,
    CrossAttention,
    DeepMimic,
    DiffKD,
    FocalGlobal,
    MaskedGenerative,
    Mimic,
    Pairwise,
    Pearson,
    QualityFocalKD,
    Review,
    ScoreMimic,
)
from diffkd_d2.meta_arch.distill_point import DistillPoint
from diffkd_d2.meta_arch.roi_branch import RoiBranch

LEVELS = ("p3", "p4", "p5", "p6", "p7")
MAPS = (ChannelWise, CrossAttention, DeepMimic, DiffKD, MaskedGenerative, Mimic, Pearson)


def on_map(key: str, student: int, teacher: int) -> list[DistillPoint]:
    """Return a point for each method that asks for nothing but two maps."""
    distillers = [*(method(student, teacher) for method in MAPS), Pairwise()]
    # Weights of 1e-3 or less keep losses that are summed in the range of the others.
    weights = [1e-5 if isinstance(d, MaskedGenerative) else 1.0 for d in distillers]
    return [
        DistillPoint("backbone", "backbone", d, key=key, weight=w, name=type(d).__name__)
        for d, w in zip(distillers, weights, strict=True)
    ]


def on_boxes(key: str, student: int, teacher: int, scores: tuple) -> list[DistillPoint]:
    """Return points of the methods that need a detector's boxes or scores."""
    distillers = {"scores": ScoreMimic(student, teacher), "boxes": FocalGlobal(student, teacher)}
    return [
        DistillPoint(
            *("backbone", "backbone", d, key),
            scores=scores if need == "scores" else None,
            name=type(d).__name__,
        )
        for need, d in distillers.items()
    ]


def on_levels(levels: tuple[str, ...], student: int, teacher: int) -> DistillPoint:
    distiller = Review(student, teacher, len(levels), inner_channels=16)
    return DistillPoint("backbone", "backbone", distiller, levels=levels, name="Review")


def dense(teacher: int) -> list[DistillPoint]:
    """Return all points of a one-stage detector with sigmoid class logits."""
    logits = [(0, level) for level in range(len(LEVELS))]
    return [
        *on_map("p3", FPN, teacher),
        *on_boxes("p3", FPN, teacher, scores=("head", (0, 0))),
        on_levels(LEVELS, FPN, teacher),
        DistillPoint("head", "head", QualityFocalKD(), levels=logits, name="QualityFocalKD"),
    ]


def two_stage() -> list[DistillPoint]:
    return [
        *on_map("p3", FPN, FPN),
        *on_boxes("p3", FPN, FPN, scores=("proposal_generator.rpn_head", (0, 1))),
        on_levels(("p2", "p3", "p4", "p5", "p6"), FPN, FPN),
        *(
            DistillPoint("roi_heads.box_predictor", "backbone", d, key=0, roi=RoiBranch(), name=type(d).__name__)
            for d in (DIST(), DKD(), KD(standardize=True))
        ),
    ]


def segmentor(key: str, channels: int) -> list[DistillPoint]:
    module = "sem_seg_head.predictor"
    logits = [ChannelWise(CLASSES, CLASSES, tau=4.0), Pairwise(), DIST(), DKD(), KD(standardize=True)]
    points = [DistillPoint(module, module, d, name=f"{type(d).__name__}_logits") for d in logits]
    return [*on_map(key, channels, channels), *points]


def semantic_fpn() -> list[DistillPoint]:
    return [*segmentor("p3", FPN), on_levels(("p2", "p3", "p4", "p5"), FPN, FPN)]


FAMILIES: dict[str, tuple[Callable[[], nn.Module], Callable[[], nn.Module], Callable[[], list[DistillPoint]]]] = {
    "RetinaNet": (lambda: build(RETINANET), lambda: build(RETINANET, channels=40), lambda: dense(40)),
    "FCOS": (fcos, fcos, lambda: dense(FPN)),
    "Faster R-CNN": (lambda: build(FASTER), lambda: build(FASTER), two_stage),
    "Semantic FPN": (lambda: build(SEMANTIC), lambda: build(SEMANTIC), semantic_fpn),
    "DeepLabV3": (deeplab_v3, deeplab_v3, lambda: segmentor("res5", 128)),
}


def train(family: str) -> set[str]:
    """Train all methods of a family for two steps at once; return their names."""
    student, teacher, points = (make() for make in FAMILIES[family])
    losses = train_two_steps(student, teacher, points)
    assert all(v.dtype == torch.float32 for k, v in losses.items() if k.startswith("loss_kd"))
    return {type(point.distiller).__name__ for point in points}


def table(families: dict[str, set[str]]) -> str:
    """Return which methods each family was trained with, in Markdown."""
    lines = ["| class | " + " | ".join(families) + " |", "|---" * (len(families) + 1) + "|"]
    for name in sorted(set().union(*families.values())):
        cells = ("yes" if name in methods else "-" for methods in families.values())
        lines.append(f"| `{name}` | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def methods_of(family: str) -> set[str]:
    """Return the names of the methods that `train` trains."""
    return {type(point.distiller).__name__ for point in FAMILIES[family][2]()}


def main() -> None:
    """Train everything; print the table."""
    torch.manual_seed(0)
    trained = {family: train(family) for family in FAMILIES}
    print(table(trained))


if __name__ == "__main__":
    main()
