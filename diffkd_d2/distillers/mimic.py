"""Feature mimicking: the baseline that every result is compared with."""

from torch import Tensor, nn

from ..diffusion import Conv1x1, Standardize, channels_last
from .losses import check_channels, masked_mse, visible
from .ranges import require_at_least


class Mimic(nn.Module):
    """Align the student's feature with a 1x1 convolution; compare it with the teacher's (FitNets, arXiv 1412.6550).

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
        self.standardize = Standardize(teacher_channels)
        self.align = Conv1x1(student_channels, teacher_channels)

    def forward(self, student: Tensor, teacher: Tensor, mask: Tensor | None = None) -> dict[str, Tensor]:
        """Return `loss_kd`, the MSE to the standardised teacher feature.

        Args:
            student: (N, Cs, H, W).
            teacher: (N, Ct, H, W), carries no gradient.
            mask: (N, 1, H, W), 1 where a position counts, 0 where it is padding.

        Raises:
            ValueError: if a feature has another number of channels than the distiller was built for.
        """
        check_channels("student", student, self.student_channels)
        check_channels("teacher", teacher, self.teacher_channels)
        target = self.standardize(channels_last(visible(teacher, mask)), mask)
        return {"loss_kd": masked_mse(self.align(visible(student, mask)), target, mask)}
