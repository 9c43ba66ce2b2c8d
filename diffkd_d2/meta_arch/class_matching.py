"""Match the class lists of student and teacher by name."""

import logging
from collections.abc import Sequence
from typing import NamedTuple

from ..errors import UserError

logger = logging.getLogger(__name__)


class ClassChannels(NamedTuple):
    """The channels of one model that are compared, and its total number of channels."""

    channels: list[int]
    total: int


class MatchedClasses(NamedTuple):
    """Result of `match_classes`: entry i of both lists is the channel of the same class."""

    student: ClassChannels
    teacher: ClassChannels


def match_classes(
    student: Sequence[str],
    teacher: Sequence[str],
    background: bool = False,
    anchors: int = 1,
    values_per_class: int = 1,
) -> MatchedClasses:
    """Return the channels of student and teacher that mean the same class, for `DistillPoint(classes=...)`.

    Channel (a K + k) V + v belongs to anchor a, class k and value v: Detectron2's order in RetinaNet's and
    FCOS's logits (`anchors`), ROI-head logits (`background`) and class-specific box deltas (`values_per_class=4`).

    Args:
        student: names of the student's K classes.
        teacher: names of the teacher's classes; the order may differ.
        background: whether the last channel is the background (softmax heads).
        anchors: A, anchors per position.
        values_per_class: V, values of each class.

    Raises:
        UserError: if no name is in both lists.
    """
    common = [name for name in student if name in set(teacher)]
    if not common:
        raise UserError(f"no class of the student {list(student)[:5]} is a class of the teacher {list(teacher)[:5]}")

    alone = [name for name in [*student, *teacher] if name not in common]
    logger.info(f"classes: {len(common)} matched by name; without a partner: {', '.join(alone) or 'none'}")

    def channels(names: Sequence[str]) -> ClassChannels:
        ids = [list(names).index(name) for name in common]
        count = len(names) + background
        ids += [len(names)] if background else []
        matched = [
            (a * count + k) * values_per_class + v for a in range(anchors) for k in ids for v in range(values_per_class)
        ]
        return ClassChannels(matched, anchors * count * values_per_class)

    return MatchedClasses(channels(student), channels(teacher))
