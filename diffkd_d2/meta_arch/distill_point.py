"""A distillation point: one module of the student, one of the teacher, and the distiller that compares them."""

from collections.abc import Sequence
from numbers import Number
from typing import Any, NamedTuple

from torch import Tensor, nn

from ..errors import UserError
from .class_matching import MatchedClasses
from .distiller_inputs import inputs_for, needs_of
from .pairing import common_area, is_map, pick, same_rows, sizes_of_images, stride_of, subsample, take_channels
from .roi_branch import RoiBranch

Key = str | int | Sequence[str | int] | None


class Pair(NamedTuple):
    """Two features that can be compared, (N, C, H, W) each, and the mask (N, 1, H, W) or None."""

    student: Tensor
    teacher: Tensor
    mask: Tensor | None
    stride: tuple[int, int] | None
    """Pixels per position along height and width; None for rows of boxes or samples."""


class DistillPoint(nn.Module):
    """A module of the student, one of the teacher, and the distiller that compares their outputs.

    Args:
        student: path of the student's module, as in `named_modules()`.
        teacher: path of the teacher's module.
        distiller: module with `forward(student, teacher, mask) -> dict`: keys that start with `loss_` are
            scalar losses, others are detached scalar metrics. Only `loss_kd` reaches the student. If its class has
            `needs` (a tuple of "boxes", "labels", "scores"), `forward` also takes these as keyword-only arguments.
        key: selects a tensor in what the student's module returns: `"p3"`, an index, a path such as `(0, 2)`, or
            None for the output itself.
        teacher_key: the same for the teacher. If None, `key`.
        levels: keys of several maps in place of `key`, finest first; the distiller gets lists of maps and of masks.
        teacher_levels: the same for the teacher. If None, `levels`.
        scores: module of the teacher and key of its class logits, such as `("head", (0, 1))`, for a distiller that
            needs scores.
        weight: factor on all losses of the distiller.
        name: suffix of the losses' names. If None, it is made from the key, or from the student's path.
        stride: pixels per position of both maps. If None, the stride that both modules declare (`output_shape()`), else
            an estimate from the maps, which is wrong if the teacher pads images to a large square.
        subsample: the distiller gets every `subsample`-th position of maps, mask, scores and label map along both
            axes; 1 means all positions. torch's CPU generator draws a random offset at each step. For maps only.
        teacher_index: index of the teacher, if there are several.
        roi: the ROI branch that the teacher runs on the student's boxes; `teacher` is then its "backbone".
        classes: channels of student and teacher that mean the same class. If None, all channels are compared.

    Raises:
        UserError: if `subsample` is below 1, or two options cannot be combined.
    """

    def __init__(
        self,
        student: str,
        teacher: str,
        distiller: nn.Module,
        key: Key = None,
        teacher_key: Key = None,
        levels: Sequence[Key] | None = None,
        teacher_levels: Sequence[Key] | None = None,
        scores: tuple[str, Key] | None = None,
        weight: float = 1.0,
        name: str | None = None,
        stride: int | None = None,
        subsample: int = 1,
        teacher_index: int = 0,
        roi: RoiBranch | None = None,
        classes: MatchedClasses | None = None,
    ):
        super().__init__()
        self.student, self.teacher, self.distiller, self.weight = student, teacher, distiller, weight
        self.teacher_index, self.roi, self.classes, self.subsample = teacher_index, roi, classes, subsample
        self.key = _key_path(key)
        self.teacher_key = self.key if teacher_key is None else _key_path(teacher_key)
        self.levels = None if levels is None else [_key_path(level) for level in levels]
        self.teacher_levels = self.levels if teacher_levels is None else [_key_path(level) for level in teacher_levels]
        self.name = name or "_".join(map(str, self.key)) or student.replace(".", "_")
        if not isinstance(distiller, nn.Module):
            raise self._error(f"distiller is {distiller!r}, expected a module")
        if isinstance(levels, str):
            raise self._error(f"levels is '{levels}', expected a list; a single level is a key")
        if len(self.teacher_levels or ()) != len(self.levels or ()):
            raise self._error(f"levels are {levels}, teacher_levels {teacher_levels}, expected equally many")
        if subsample < 1:
            raise self._error(f"subsample is {subsample}, expected 1 or more")
        if scores is not None and (isinstance(scores, str) or len(scores) != 2):
            raise self._error(f"scores is {scores!r}, expected a module and a key")
        self.scores = None if scores is None else (scores[0], _key_path(scores[1]))
        if self.levels is not None and (key, teacher_key, stride, roi, scores, subsample) != (*[None] * 5, 1):
            raise self._error("levels exclude key, teacher_key, stride, roi, scores and subsample")
        self.strides = [stride] * len(self.keys)

    @property
    def keys(self) -> list[tuple[tuple[str | int, ...], tuple[str | int, ...]]]:
        """The keys of each pair of features: the student's and the teacher's."""
        if self.levels is None or self.teacher_levels is None:
            return [(self.key, self.teacher_key)]
        return list(zip(self.levels, self.teacher_levels, strict=True))

    @property
    def teacher_modules(self) -> set[str]:
        """Paths of the teacher's modules whose output the point reads."""
        return {self.teacher} if self.scores is None else {self.teacher, self.scores[0]}

    def check_needs(self) -> None:
        """Raise UserError if the point cannot provide what its distiller needs."""
        try:
            needs = needs_of(self.distiller)
        except UserError as error:
            raise self._error(error) from error
        if ("scores" in needs) != (self.scores is not None):
            which = "needs scores=(module, key)" if "scores" in needs else "takes no scores"
            raise self._error(f"the distiller {type(self.distiller).__name__} {which}")
        if needs and self.levels is not None:
            raise self._error(f"the distiller needs {', '.join(needs)}, which levels exclude")
        if "boxes" in needs and self.subsample > 1:
            raise self._error("the distiller needs boxes, which subsample excludes")

    def forward(
        self, student: Any, teacher: Any, batched_inputs: Any, labels: Tensor | None = None, scores: Any = None
    ) -> dict[str, Tensor]:
        """Return the distiller's dict with the losses weighted.

        Args:
            student: what the student's module returned.
            teacher: what the teacher's module returned.
            batched_inputs: what the models were called with.
            labels: classes (R,) of the boxes of an ROI point whose distiller needs them.
            scores: what the teacher's module named by `scores` returned.

        Raises:
            UserError: if a key does not exist, the pair cannot be compared, or the distiller returns no loss, a
                loss with dimensions, or a metric of several numbers. The message names the point.
        """
        try:
            sizes = sizes_of_images(batched_inputs)
            pairs = [self._pair(student, teacher, *x, sizes) for x in zip(self.keys, self.strides, strict=True)]
            if self.levels is not None:
                students, teachers, masks, _ = map(list, zip(*pairs, strict=True))
                outputs = self.distiller(students, teachers, masks)
            else:
                outputs = self._distil_one(pairs[0], batched_inputs, labels, scores)
        except ValueError as error:
            raise self._error(error) from error
        if not isinstance(outputs, dict) or not any(k.startswith("loss_") for k in outputs):
            returned = list(outputs) if isinstance(outputs, dict) else f"a {type(outputs).__name__}"
            raise self._error(f"the distiller returned {returned}, expected a dict with a key that starts with 'loss_'")
        for key, value in outputs.items():
            if key.startswith("loss_"):
                fits, wanted = isinstance(value, Tensor) and value.dim() == 0, "a tensor without dimensions"
            else:
                fits = value.numel() == 1 if isinstance(value, Tensor) else isinstance(value, Number)
                wanted = "one number"
            if not fits:
                what = (
                    f"a tensor {tuple(value.shape)}" if isinstance(value, Tensor) else f"of type {type(value).__name__}"
                )
                raise self._error(f"the distiller's {key} is {what}, expected {wanted}")
        return {k: self.weight * v if k.startswith("loss_") else v for k, v in outputs.items()}

    def _pair(
        self, student: Any, teacher: Any, keys: tuple[Any, Any], stride: int | None, sizes: list[tuple[int, int]] | None
    ) -> Pair:
        s, t = pick(student, keys[0], "student"), pick(teacher, keys[1], "teacher")
        if self.classes is not None:
            s, t = (take_channels(f, *c) for f, c in zip((s, t), self.classes, strict=True))
        maps = is_map(s, t, None if sizes is None else len(sizes), rows=self.roi is not None)
        if sizes is None or not maps:
            (s, t), mask = same_rows(s, t)
            return Pair(s, t, mask, None)
        strides = stride_of(s, t, sizes, stride)
        (s, t), mask = common_area(s, t, sizes, strides)
        return Pair(s, t, mask, strides)

    def _distil_one(self, pair: Pair, batched_inputs: Any, labels: Tensor | None, scores: Any) -> Any:
        student, teacher, mask, stride = pair
        logits = None if self.scores is None else pick(scores, self.scores[1], "teacher")
        needed = inputs_for(needs_of(self.distiller), student, stride, batched_inputs, labels, logits)
        if self.subsample > 1:
            if stride is None:
                raise ValueError("subsample is for maps (N, C, H, W) of whole images")
            maps = {k: v for k, v in needed.items() if v.dim() == 4}
            student, teacher, mask, *thinned = subsample(student, teacher, mask, *maps.values(), step=self.subsample)
            needed |= dict(zip(maps, thinned, strict=True))
        return self.distiller(student, teacher, mask, **needed)

    def _error(self, what: object) -> UserError:
        return UserError(f"distillation point '{self.name}': {what}")


def _key_path(key: Key) -> tuple[str | int, ...]:
    if key is None:
        return ()
    return (key,) if isinstance(key, str | int) else tuple(key)
