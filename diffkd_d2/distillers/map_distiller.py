"""What the distillers of two maps share: the numbers of channels, and their check."""

from torch import Tensor, nn

from .losses import check_channels, visible
from .ranges import require_at_least


class MapDistiller(nn.Module):
    """A distiller that compares a map of the student with a map of the teacher.

    Each subclass has `forward(student, teacher, mask=None)`:

    - student: (N, Cs, H, W),
    - teacher: (N, Ct, H, W), carries no gradient,
    - mask: (N, 1, H, W), 1 where a position counts, 0 where it is padding; None if all count.

    It returns `loss_kd`, and raises ValueError if a map has another number of channels than the distiller was built
    for.

    Args:
        student_channels: Cs.
        teacher_channels: Ct.

    Raises:
        ValueError: if a number of channels is below 1.
    """

    def __init__(self, student_channels: int, teacher_channels: int):
        super().__init__()
        require_at_least(1, student_channels=student_channels, teacher_channels=teacher_channels)
        self.student_channels, self.teacher_channels = student_channels, teacher_channels

    def visible_pair(self, student: Tensor, teacher: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return both maps in float32 or float64, with zeros where the mask is 0.

        Raises:
            ValueError: if a map has another number of channels than the distiller was built for.
        """
        check_channels("student", student, self.student_channels)
        check_channels("teacher", teacher, self.teacher_channels)
        return visible(student, mask), visible(teacher, mask)
