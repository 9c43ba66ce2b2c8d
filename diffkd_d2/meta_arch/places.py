"""Find what a student and a teacher have in common: feature levels of the same stride, heads of the same kind."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import nn

from ..errors import UserError
from .output_shapes import output_shapes
from .roi_branch import RoiBranch

LOGITS = ("head", "roi", "sem_seg", "logits")
# The words that `where` may have, and the kinds of places of each.
WHERE = {"features": ("features",), "stages": ("stages",), "logits": LOGITS, **{kind: (kind,) for kind in LOGITS[:3]}}
# What the kinds of logits are called in messages.
NAMES = dict(
    zip(LOGITS, ("the sigmoid logits of a dense head", "box logits", "label map logits", "image logits"), strict=True)
)


@dataclass(frozen=True)
class Place:
    """A module of the student and one of the teacher that can be compared.

    Args:
        kind: "features" (what both backbones return), "stages" (of the bottom-up networks), "head" (class logits of a
            dense head, sigmoid), "roi" (class logits of boxes), "sem_seg" (label map logits), "logits" (a
            classifier's), or the path of a module.
        name: suffix of the losses' names.
        student: path of the student's module.
        teacher: path of the teacher's module.
        student_channels: C of the student's output.
        teacher_channels: C of the teacher's output.
        key: selects a tensor in what the student's module returns.
        teacher_key: the same for the teacher. If None, `key`.
        level: name of the feature level; None if there is none.
        stride: pixels per position; None if there are no positions.
        roi: builds the ROI branch; None for any other kind.
        scores: path and key of the teacher's class logits at the same positions; None if it has none.
    """

    kind: str
    name: str
    student: str
    teacher: str
    student_channels: int
    teacher_channels: int
    key: Any = None
    teacher_key: Any = None
    level: str | None = None
    stride: int | None = None
    roi: Callable[[], RoiBranch] | None = None
    scores: tuple[str, Any] | None = None


def find_places(student: nn.Module, teacher: nn.Module, where: str) -> list[Place]:
    """Return the places for a word of `WHERE`, or for the path of a module in both models.

    Raises:
        UserError: if `where` is neither.
    """
    places: list[Place] = []
    for kind in WHERE.get(where, (where,)):
        if kind == "features":
            # Leave out levels that the head does not read, such as one of Semantic FPN's levels.
            read = getattr(student.sem_seg_head, "in_features", None) if family(student) == "segmentor" else None
            found = _levels(student, teacher, kind, *map(_feature_path, (student, teacher)))
            places += [place for place in found if read is None or place.level in read]
        elif kind == "stages":
            places += _levels(student, teacher, kind, *map(_stage_path, (student, teacher)))
        elif kind in FINDERS:
            places += FINDERS[kind](student, teacher)
        else:
            paths = dict(student.named_modules())
            if where not in paths:
                raise UserError(f"where: '{where}' is neither one of {', '.join(WHERE)} nor a module of the student")
            places += _levels(student, teacher, kind, where, where)
    return places


def family(model: nn.Module) -> str:
    """Return the family of a model, the key of published settings: "retinanet", "faster_rcnn", "segmentor", ..."""
    heads: Any = getattr(model, "roi_heads", None)
    if hasattr(heads, "box_predictor"):
        if isinstance(heads.box_predictor, nn.ModuleList):
            return "cascade_rcnn"
        return "mask_rcnn" if hasattr(heads, "mask_head") else "faster_rcnn"
    if hasattr(model, "sem_seg_head"):
        return "segmentor"
    if _classifier(model):
        return "classifier"
    return type(model).__name__.lower()


def _levels(
    student: nn.Module, teacher: nn.Module, kind: str, student_path: str | None, teacher_path: str | None
) -> Iterator[Place]:
    """Pair the outputs of two modules by stride; if a stride occurs twice, by name."""
    if student_path is None or teacher_path is None:
        return
    ours, theirs = output_shapes(student, student_path), output_shapes(teacher, teacher_path)
    scores = _score_paths(teacher)
    for key, shape in ours.items():
        # A key selects nothing in a single tensor, whose own key is None.
        partners = [k for k, other in theirs.items() if other.stride == shape.stride and (key is None or k is not None)]
        if not partners:
            continue
        partner = key if key in partners else partners[-1]
        level = None if key is None else str(key)
        yield Place(
            *(kind, level or student_path.replace(".", "_"), student_path, teacher_path),
            *(shape.channels, theirs[partner].channels, key, None if partner == key else partner),
            *(level, shape.stride, None, scores.get(partner) if kind == "features" else None),
        )


def _feature_path(model: nn.Module) -> str | None:
    paths = ("feature_map",) if _classifier(model) else ("backbone",)
    return next((path for path in paths if isinstance(getattr(model, path, None), nn.Module)), None)


def _stage_path(model: nn.Module) -> str | None:
    bottom_up = getattr(getattr(model, "backbone", None), "bottom_up", None)
    return "backbone.bottom_up" if isinstance(bottom_up, nn.Module) else _feature_path(model)


def _classifier(model: nn.Module) -> bool:
    return all(isinstance(getattr(model, name, None), nn.Module) for name in ("feature_map", "logits"))


def _head_levels(model: Any) -> dict[str, int]:
    """Return the stride of each level of a dense head with one `cls_score` for all levels; {} if there is none."""
    if not hasattr(getattr(model, "head", None), "cls_score") or not hasattr(model, "head_in_features"):
        return {}
    shapes = model.backbone.output_shape()
    return {name: shapes[name].stride for name in model.head_in_features}


def _score_paths(model: nn.Module) -> dict[str | int | None, tuple[str, Any]]:
    """Return path and key of each level's class logits of a dense head, or of its objectness of an RPN."""
    proposals: Any = getattr(model, "proposal_generator", None)
    if _head_levels(model):
        path, levels = "head", list(_head_levels(model))
    elif isinstance(getattr(proposals, "rpn_head", None), nn.Module) and hasattr(proposals, "in_features"):
        path, levels = "proposal_generator.rpn_head", list(proposals.in_features)
    else:
        return {}
    return {level: (path, (0, i)) for i, level in enumerate(levels)}


def _logit_channels(model: nn.Module) -> dict[str, int]:
    """Return the channels of the class logits of each kind that the model has."""
    predictors, head, sem_seg = _predictors(model), getattr(model, "head", None), getattr(model, "sem_seg_head", None)
    channels: dict[str, Any] = dict(
        head=head.cls_score.out_channels if head is not None and _head_levels(model) else None,
        roi=predictors[0].cls_score.out_features if predictors else None,
        sem_seg=getattr(getattr(sem_seg, "predictor", None), "out_channels", None),
        logits=output_shapes(model, "logits")[None].channels if _classifier(model) else None,
    )
    return {kind: count for kind, count in channels.items() if count is not None}


def difference(student: nn.Module, teacher: nn.Module, where: Sequence[str]) -> str:
    """Return why `find_places` found nothing at `where`, as a clause."""
    kinds = {kind for word in where for kind in WHERE.get(word, (word,))}
    if not kinds & set(LOGITS):
        for model in (student, teacher):
            if _feature_path(model) is None:
                found = [path for path, module in model.named_modules() if path and hasattr(module, "output_shape")]
                others = f"; distill.where can name {', '.join(found[:3])}" if found else ""
                return f"{type(model).__name__} has no attribute 'backbone'{others}"
        return "they have no feature levels of the same stride"
    ours, theirs = _logit_channels(student), _logit_channels(teacher)
    for kind in sorted(ours.keys() & theirs.keys() & kinds):
        return (
            f"{NAMES[kind]} of the student have {ours[kind]} channels, of the teacher {theirs[kind]}, or other strides"
        )
    having = [" and ".join(NAMES[kind] for kind in counts) or "no known class logits" for counts in (ours, theirs)]
    return f"the student has {having[0]}, the teacher {having[1]}"


def _common_channels(student: nn.Module, teacher: nn.Module, kind: str) -> int | None:
    """Return the channels of the class logits of one kind; None unless both models have them in the same number."""
    ours, theirs = _logit_channels(student).get(kind), _logit_channels(teacher).get(kind)
    return ours if ours == theirs else None


def _dense(student: nn.Module, teacher: nn.Module) -> Iterator[Place]:
    count = _common_channels(student, teacher, "head")
    if count is None:
        return
    strides = list(_head_levels(teacher).values())
    for i, (level, stride) in enumerate(_head_levels(student).items()):
        if stride in strides:
            key, teacher_key = (0, i), (0, strides.index(stride))
            other = None if teacher_key == key else teacher_key
            yield Place("head", f"cls_{level}", "head", "head", count, count, key, other, level, stride)


def _roi(student: nn.Module, teacher: nn.Module) -> Iterator[Place]:
    count = _common_channels(student, teacher, "roi")
    if count is None:
        return
    ours, theirs = len(_predictors(student)), len(_predictors(teacher))
    cascade = ours > 1
    for i in range(ours):
        path = f"roi_heads.box_predictor.{i}" if cascade else "roi_heads.box_predictor"
        # A student with one stage learns from the last stage of a teacher that is a cascade.
        stage = min(i, theirs - 1) if cascade else theirs - 1
        branch = partial(RoiBranch, stage=i) if stage == i else partial(RoiBranch, stage=i, teacher_stage=stage)
        yield Place("roi", f"roi_{i}" if cascade else "roi", path, "backbone", count, count, 0, roi=branch)


def _predictors(model: nn.Module) -> list[Any]:
    predictor = getattr(getattr(model, "roi_heads", None), "box_predictor", None)
    if predictor is None:
        return []
    if not hasattr(model.roi_heads, "box_pooler"):  # Res5ROIHeads, which RoiBranch cannot run
        return []
    predictors = list(predictor) if isinstance(predictor, nn.ModuleList) else [predictor]
    return predictors if all(isinstance(getattr(p, "cls_score", None), nn.Linear) for p in predictors) else []


def _sem_seg(student: nn.Module, teacher: nn.Module) -> Iterator[Place]:
    count = _common_channels(student, teacher, "sem_seg")
    strides = [getattr(model.sem_seg_head, "common_stride", None) for model in (student, teacher)] if count else []
    if count is not None and strides[0] == strides[1]:
        path = "sem_seg_head.predictor"
        yield Place("sem_seg", "sem_seg", path, path, count, count, stride=strides[0])


def _class_logits(student: nn.Module, teacher: nn.Module) -> Iterator[Place]:
    count = _common_channels(student, teacher, "logits")
    if count is not None:
        yield Place("logits", "logits", "logits", "logits", count, count)


FINDERS = {"head": _dense, "roi": _roi, "sem_seg": _sem_seg, "logits": _class_logits}
