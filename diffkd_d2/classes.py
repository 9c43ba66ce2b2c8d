"""Class lists that differ between student and teacher, matched by name."""

from collections.abc import Sequence

from .errors import UserError


def match_classes(
    student: Sequence[str],
    teacher: Sequence[str],
    background: bool = False,
    anchors: int = 1,
    values_per_class: int = 1,
) -> tuple[list[int], list[int]]:
    """Return the channels of student and teacher that mean the same class, for `DistillPoint(classes=...)`.

    Channel (a K + k) V + v belongs to anchor a, class k and value v: Detectron2's order in RetinaNet's and
    FCOS's logits (`anchors`), ROI-head logits (`background`) and class-specific box deltas (`values_per_class=4`).

    Args:
        student: names of the student's K classes.
        teacher: names of the teacher's; the order may differ.
        background: whether a last channel stands for the background (softmax heads).
        anchors: A, anchors per position.
        values_per_class: V.

    Raises:
        UserError: if no name is in both lists.
    """
    common = [name for name in student if name in set(teacher)]
    if not common:
        raise UserError(f"no class of the student {list(student)[:5]} is a class of the teacher {list(teacher)[:5]}")

    def channels(names: Sequence[str]) -> list[int]:
        ids = [list(names).index(name) for name in common]
        count = len(names) + background
        ids += [len(names)] if background else []
        return [
            (a * count + k) * values_per_class + v for a in range(anchors) for k in ids for v in range(values_per_class)
        ]

    return channels(student), channels(teacher)
