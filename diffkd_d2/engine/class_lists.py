"""Compare the classes of training data, test data, checkpoint, student and teacher: number, names and order."""

import logging
from collections.abc import Mapping
from typing import Any

from detectron2.modeling.meta_arch.dense_detector import DenseDetector
from torch import nn

from ..distillers import DIST, DKD, KD, ChannelWise, Pearson, QualityFocalKD
from ..errors import UserError
from ..meta_arch.distill_point import DistillPoint
from ..meta_arch.distilled_model import DistilledModel

logger = logging.getLogger(__name__)

# Kind of classes ("things": boxes, "stuff": label maps, "labels": whole images, "keypoints") -> names by class index.
Names = dict[str, list[str]]


class ClassLists:
    """Class names as a checkpointable; loading a checkpoint with other classes is an error.

    Args:
        names: kind -> names.
    """

    def __init__(self, names: Names):
        self.names = names

    def state_dict(self) -> Names:
        """Return the names as plain lists of strings."""
        return self.names

    def load_state_dict(self, state: Any) -> None:
        """Compare the names with those of the checkpoint.

        Raises:
            UserError: if names or their order differ.
        """
        for kind, names in readable_names(state).items():
            _require_equal("the data", self.names.get(kind), "the checkpoint", names)


def readable_names(state: Any) -> Names:
    """Return the checkpoint's "classes". If they have another format, return an empty dict."""
    if not isinstance(state, dict):
        return {}
    lists = {kind: names for kind, names in state.items() if isinstance(names, list)}
    return {kind: names for kind, names in lists.items() if all(isinstance(name, str) for name in names)}


def check_class_lists(loaders: Mapping[str, Any], model: nn.Module) -> ClassLists:
    """Compare the classes of loaders with each other and their numbers with the model's; log what cannot be compared.

    Args:
        loaders: name for error messages ("training data", "test data shapes_val") -> loader.
        model: the student, or a teacher to be evaluated on this data.

    Returns:
        for each kind, the class names of the first loader that has some.

    Raises:
        UserError: if two lists differ, a list has a duplicate name, or the model has another number of classes.
    """
    known: dict[str, tuple[str, list[str]]] = {}
    for source, loader in loaders.items():
        names = class_names(loader)
        if class_count(model, "keypoints") is None:
            names = {kind: listed for kind, listed in names.items() if kind != "keypoints"}
        if not names:
            logger.info(
                f"classes: {source} names none, so they are not compared (Detectron2's loader and ours name them)"
            )
        _require_unique(source, names)
        _check_model(model, source, names)
        _check_unnamed(model, source, loader, names)
        for kind, listed in names.items():
            first = known.setdefault(kind, (source, listed))
            _require_equal(*first, source, listed)
    return ClassLists({kind: names for kind, (_, names) in known.items()})


def check_logit_classes(model: DistilledModel, student: ClassLists) -> None:
    """Compare the class names of student and teacher for each point on class logits without `classes`.

    Raises:
        UserError: if they differ.
    """
    for point in model.points:
        if point.classes is not None or not _on_logits(point):
            continue
        teacher = readable_names(getattr(model.teachers[point.teacher_index], "class_names", None))
        if not teacher:
            logger.info(f"point '{point.name}': the teacher's checkpoint names no classes, so they are not compared")
        for kind in student.names.keys() & teacher.keys():
            try:
                _require_equal("the student", student.names[kind], "the teacher", teacher[kind])
            except UserError as error:
                raise UserError(f"point '{point.name}': {error}: match them by `classes=match_classes(...)`") from None


def class_names(loader: Any) -> Names:
    """Return the class names of a loader of dataset dicts or of labelled images."""
    names = getattr(loader, "class_names", None)
    if names is not None:
        return names
    labels = getattr(getattr(loader, "dataset", None), "classes", None)
    return {} if labels is None else {"labels": list(labels)}


def class_count(model: nn.Module, kind: str, alone: bool = False) -> int | None:
    """Return the model's number of classes of a kind. If the model does not state it, return None.

    Args:
        model: a detector, segmentor, panoptic model or classifier.
        kind: "things", "stuff", "labels" or "keypoints".
        alone: whether the data has only this kind, so that the `num_classes` of an unknown model refers to it.

    Raises:
        UserError: if the parts of the ROI heads have different numbers.
    """
    heads = getattr(model, "roi_heads", None), getattr(model, "sem_seg_head", None)
    if kind == "keypoints":
        return getattr(getattr(getattr(heads[0], "keypoint_head", None), "score_lowres", None), "out_channels", None)
    if kind == "things" and heads[0] is not None:
        return _count_of_roi_heads(heads[0])
    if kind == "stuff" and heads[1] is not None:
        return _count_of_segmentor(heads[1], alone)
    if heads != (None, None) or (kind == "stuff" and isinstance(model, DenseDetector)):
        return None
    counts = getattr(model, "num_classes", None)
    return counts if isinstance(counts, int) and (alone or isinstance(model, DenseDetector)) else None


def _count_of_roi_heads(heads: nn.Module) -> int | None:
    predictors = getattr(heads, "box_predictor", None)
    predictors = predictors if isinstance(predictors, nn.ModuleList) else [predictors]
    own, of_boxes = getattr(heads, "num_classes", None), {getattr(p, "num_classes", None) for p in predictors}
    for count in of_boxes - {None, own}:
        raise UserError(f"the model's roi_heads.num_classes is {own}, its box_predictor.num_classes {count}")
    return own


def _count_of_segmentor(head: nn.Module, alone: bool) -> int | None:
    inner = getattr(head, "coarse_sem_seg_head", None)  # PointRend's
    if inner is not None:
        return _count_of_segmentor(inner, alone)
    maps = getattr(getattr(head, "predictor", None), "out_channels", None)
    if maps is not None or not alone:  # a mask classifier such as Mask2Former may count things, stuff or both
        return maps
    own = getattr(head, "num_classes", None)
    return own if isinstance(own, int) else None


def _check_model(model: nn.Module, source: str, names: Names) -> None:
    compared = []
    for kind, listed in names.items():
        count = class_count(model, kind, alone=len(names) == 1)
        if count is None:
            continue
        compared.append(f"{count} {kind}")
        if count != len(listed):
            what = "keypoints" if kind == "keypoints" else "classes"
            raise UserError(
                f"the model has {count} {what}, {source} {len(listed)}: {_short(listed)}; set the model's num_{what}, "
                f"or leave {what} out of the data"
            )
    if names and not compared:
        logger.info(f"classes: {type(model).__name__} states no number, so {source} is not compared with it")


def _check_unnamed(model: nn.Module, source: str, loader: Any, names: Names) -> None:
    """Compare the annotations of a dataset without names with the model's numbers of classes and keypoints.

    Detectron2 would take the class after the last one for the background, and mix up the objects' keypoints.
    """
    classes = None if "things" in names else class_count(model, "things", alone=True)
    keypoints = None if "keypoints" in names else class_count(model, "keypoints")
    if classes is None and keypoints is None:
        return
    for annotation in (a for record in getattr(loader, "records", ()) for a in record.get("annotations", ())):
        number, found = annotation.get("category_id", 0), len(annotation.get("keypoints") or ()) // 3
        if classes is not None and not 0 <= number < classes:
            raise UserError(f"{source}: an object has the class {number}; the model's are 0 to {classes - 1}")
        if keypoints is not None and found not in (0, keypoints):
            raise UserError(f"the model has {keypoints} keypoints, objects of {source} {found}: set its num_keypoints")


def _require_unique(source: str, names: Names) -> None:
    for listed in names.values():
        twice = [name for i, name in enumerate(listed) if name in listed[:i]]
        if twice:
            raise UserError(f"{source} has two classes named '{twice[0]}': results of one would overwrite the other's")


def _require_equal(source: str, names: list[str] | None, other: str, others: list[str]) -> None:
    if names is not None and list(names) != list(others):
        lists = [f"{who} has {len(listed)}: {_short(listed)}" for who, listed in ((source, names), (other, others))]
        raise UserError(f"the classes differ: {'; '.join(lists)}")


def _on_logits(point: DistillPoint) -> bool:
    distiller: Any = point.distiller
    if isinstance(distiller, ChannelWise | Pearson):  # without a convolution they compare channel with channel
        on_head = point.student == "head" and point.key[:1] == (0,)  # a dense head's class logits, not its boxes
        on_classes = on_head or point.student in ("sem_seg_head.predictor", "logits")
        return on_classes and not list(distiller.parameters())
    return isinstance(distiller, KD | DKD | DIST | QualityFocalKD) or bool(getattr(distiller, "logits", False))


def _short(names: list[str]) -> str:
    return ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
