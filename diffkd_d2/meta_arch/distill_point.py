"""Where knowledge passes: one module of the student, one of the teacher, and the distiller between them."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from ..errors import UserError
from .class_matching import MatchedClasses
from .pairing import common_area, pick, same_rows, subsample, take_channels
from .roi_branch import RoiBranch

Key = str | int | Sequence[str | int] | None


class DistillPoint(nn.Module):
    """Where knowledge passes: a module of the student, one of the teacher, and the distiller between them.

    Args:
        student: path of the student's module, as in `named_modules()`.
        teacher: path of the teacher's module.
        distiller: module with `forward(student, teacher, mask) -> dict`: keys that start with `loss_` are
            scalar losses, others detached scalar metrics. `loss_kd` is the one that reaches the student.
        key: picks inside what the student's module returns: `"p3"`, an index, a path such as `(0, 2)`, or
            None for the output itself.
        teacher_key: the same for the teacher; None: as `key`.
        weight: factor on all losses of the distiller.
        name: suffix of the losses' names; None: made of the key, or of the student's path.
        stride: pixels per position of both maps; None: as both modules declare it (`output_shape()`), else estimated
            from the maps, which a teacher that pads to a large square defeats.
        subsample: the distiller gets every `subsample`-th position of both maps and of the mask along both axes, from
            a random offset, which torch's generator of the CPU draws at each step; 1: all. For maps only.
        teacher_index: which teacher, where there are several.
        roi: the ROI branch that the teacher runs on the student's boxes; `teacher` is then its "backbone".
        classes: channels of student and teacher that mean the same class; None: all.

    Raises:
        UserError: if `subsample` is below 1.
    """

    def __init__(
        self,
        student: str,
        teacher: str,
        distiller: nn.Module,
        key: Key = None,
        teacher_key: Key = None,
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
        self.teacher_index, self.roi, self.classes = teacher_index, roi, classes
        self.key = _key_path(key)
        self.teacher_key = self.key if teacher_key is None else _key_path(teacher_key)
        self.stride, self.subsample = stride, subsample
        self.name = name or "_".join(map(str, self.key)) or student.replace(".", "_")
        if subsample < 1:
            raise UserError(f"distillation point '{self.name}': subsample is {subsample}, expected 1 or more")

    def forward(self, student: Any, teacher: Any, image_sizes: list[tuple[int, int]] | None) -> dict[str, Tensor]:
        """Return the distiller's dict with the losses weighted.

        Args:
            student: what the student's module returned.
            teacher: what the teacher's module returned.
            image_sizes: (height, width) in pixels of each image before padding; None if unknown.

        Raises:
            UserError: if a key is not there, or the pair cannot be compared; the line names the point.
        """
        try:
            pair = [pick(student, self.key, "student"), pick(teacher, self.teacher_key, "teacher")]
            if self.classes is not None:
                pair = [take_channels(f, *c) for f, c in zip(pair, self.classes, strict=True)]
            count = len(image_sizes or ())
            is_map = self.roi is None and all(f.dim() == 4 and len(f) == count for f in pair)
            pair, mask = common_area(*pair, image_sizes, self.stride) if is_map else same_rows(*pair)
            if self.subsample > 1:
                if not is_map:
                    raise ValueError("subsample is for maps (N, C, H, W) of whole images")
                *pair, mask = subsample(*pair, mask, step=self.subsample)
            outputs = self.distiller(*pair, mask)
        except ValueError as error:
            raise UserError(f"distillation point '{self.name}': {error}") from error
        return {k: self.weight * v if k.startswith("loss_") else v for k, v in outputs.items()}


def _key_path(key: Key) -> tuple[str | int, ...]:
    if key is None:
        return ()
    return (key,) if isinstance(key, str | int) else tuple(key)
