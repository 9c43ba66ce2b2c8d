"""Feature mimicking: the baseline that every result is compared with."""

from torch import Tensor

from ..diffusion import Conv1x1, Standardize, channels_last
from .losses import masked_mse
from .map_distiller import MapDistiller


class Mimic(MapDistiller):
    """Align the student's feature with a 1x1 convolution; compare it with the teacher's (FitNets, arXiv 1412.6550).

    Args:
        student_channels: Cs.
        teacher_channels: Ct.

    Raises:
        ValueError: if a number of channels is below 1.
    """

    def __init__(self, student_channels: int, teacher_channels: int):
        super().__init__(student_channels, teacher_channels)
        self.standardize = Standardize(teacher_channels)
        self.align = Conv1x1(student_channels, teacher_channels)

    def forward(self, student: Tensor, teacher: Tensor, mask: Tensor | None = None) -> dict[str, Tensor]:
        """Return `loss_kd`, the MSE to the standardised teacher feature."""
        student, teacher = self.visible_pair(student, teacher, mask)
        target = self.standardize(channels_last(teacher), mask)
        return {"loss_kd": masked_mse(self.align(student), target, mask)}
