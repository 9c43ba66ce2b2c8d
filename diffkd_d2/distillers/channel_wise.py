"""CWD: Channel-wise Knowledge Distillation for Dense Prediction (arXiv 2011.13256)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .layers import align_channels
from .losses import visible
from .map_distiller import MapDistiller
from .ranges import require_positive


class ChannelWise(MapDistiller):
    """KL divergence between channels, each taken as a distribution over the positions of an image, times tau^2.

    Args:
        student_channels: Cs.
        teacher_channels: Ct.
        tau: temperature, above 0. Published: 1 for a detector's neck or class logits, 4 for a segmentor's logits.

    Raises:
        ValueError: if an option is out of range.
    """

    def __init__(self, student_channels: int, teacher_channels: int, tau: float = 1.0):
        super().__init__(student_channels, teacher_channels)
        require_positive(tau=tau)
        self.tau = tau
        self.align = align_channels(student_channels, teacher_channels)

    def forward(self, student: Tensor, teacher: Tensor, mask: Tensor | None = None) -> dict[str, Tensor]:
        """Return `loss_kd`, the mean over images and channels."""
        student, teacher = self.visible_pair(student, teacher, mask)
        log_student, log_teacher = (self._over_positions(x, mask) for x in (visible(self.align(student)), teacher))
        divergence = F.kl_div(log_student, log_teacher, reduction="sum", log_target=True)
        return {"loss_kd": self.tau**2 * divergence / (len(teacher) * self.teacher_channels)}

    def _over_positions(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Return log-probabilities (N, C, H W)."""
        if mask is not None:  # -inf times a probability of 0 would be NaN
            x = x.masked_fill(mask == 0, torch.finfo(x.dtype).min / 2)
        return F.log_softmax(x.flatten(2) / self.tau, dim=2)
