"""PKD: General Distillation Framework for Object Detectors via Pearson Correlation Coefficient (arXiv 2207.02039)."""

from torch import Tensor

from .layers import align_channels
from .losses import ones_or, standard_deviation, visible
from .map_distiller import MapDistiller
from .ranges import require_positive


class Pearson(MapDistiller):
    """Half the MSE of two maps whose channels are standardised over all positions of the batch.

    This equals 1 minus the Pearson correlation of corresponding channels, averaged. The module has no parameters if the
    numbers of channels are equal. Each process computes its own statistics.

    Args:
        student_channels: Cs.
        teacher_channels: Ct.
        eps: added to the standard deviation.

    Raises:
        ValueError: if an option is out of range.
    """

    def __init__(self, student_channels: int, teacher_channels: int, eps: float = 1e-6):
        super().__init__(student_channels, teacher_channels)
        require_positive(eps=eps)
        self.eps = eps
        self.align = align_channels(student_channels, teacher_channels)

    def forward(self, student: Tensor, teacher: Tensor, mask: Tensor | None = None) -> dict[str, Tensor]:
        """Return `loss_kd`."""
        student, teacher = self.visible_pair(student, teacher, mask)
        weight = ones_or(mask, teacher)
        student, teacher = (self._standardize(x, weight) for x in (visible(self.align(student), mask), teacher))
        error = (student - teacher).square().sum() / (weight.sum().clamp(min=1) * self.teacher_channels)
        return {"loss_kd": error / 2}

    def _standardize(self, x: Tensor, weight: Tensor) -> Tensor:
        """Standardise each channel of x (N, C, H, W) over the positions where `weight` (N, 1, H, W) is 1."""
        count = weight.sum()
        centred = (x - x.sum(dim=(0, 2, 3), keepdim=True) / count.clamp(min=1)) * weight
        variance = centred.square().sum(dim=(0, 2, 3), keepdim=True) / (count - 1).clamp(min=1)
        return centred / (standard_deviation(variance) + self.eps)
