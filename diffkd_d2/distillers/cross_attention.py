"""CanKD: Cross-Attention-based Non-local operation for feature-based Knowledge Distillation (arXiv 2511.21503)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..diffusion import Conv1x1
from .layers import MaskedBatchNorm2d, align_channels
from .losses import ones_or, visible
from .map_distiller import MapDistiller


class CrossAttention(MapDistiller):
    """Let each position of the student attend to all positions of the teacher; compare instance-normalised maps.

    The attention has no softmax, so its two products can be computed in the order that needs a matrix of channels by
    channels instead of positions by positions. At initialisation it adds nothing to the student's map.

    Args:
        student_channels: Cs.
        teacher_channels: Ct; the attention is half as wide.

    Raises:
        ValueError: if an option is out of range.
    """

    def __init__(self, student_channels: int, teacher_channels: int):
        super().__init__(student_channels, teacher_channels)
        inner = max(teacher_channels // 2, 1)
        self.align = align_channels(student_channels, teacher_channels)
        self.query, self.key, self.value = (Conv1x1(teacher_channels, inner) for _ in range(3))
        self.expand, self.norm = Conv1x1(inner, teacher_channels), MaskedBatchNorm2d(teacher_channels)
        nn.init.zeros_(self.norm.weight)

    def forward(self, student: Tensor, teacher: Tensor, mask: Tensor | None = None) -> dict[str, Tensor]:
        """Return `loss_kd`, half of the MSE."""
        student, teacher = self.visible_pair(student, teacher, mask)
        student = visible(self.align(student), mask)
        weight = ones_or(mask, teacher)
        attended = student + self.norm(self.expand(self._attend(student, teacher, weight)), mask)
        pair = [_instance_norm(x, weight) for x in (attended, teacher)]
        error = (pair[0] - pair[1]).square().sum()
        return {"loss_kd": error / (2 * weight.sum().clamp(min=1) * self.teacher_channels)}

    def _attend(self, student: Tensor, teacher: Tensor, weight: Tensor) -> Tensor:
        """Return the attention of the student's positions to the teacher's, (N, C / 2, H, W)."""
        size = [min(2, n) for n in teacher.shape[2:]]
        # Windows that reach into padding do not count, like those that cross the border.
        inside = -F.max_pool2d(-weight, size)
        key, value = (visible(F.max_pool2d(f(teacher), size), inside).flatten(2) for f in (self.key, self.value))
        query = visible(self.query(student)).flatten(2)
        count = inside.sum(dim=(2, 3)).clamp(min=1)[:, :, None]
        with torch.autocast(teacher.device.type, enabled=False):
            found: Tensor = (value @ key.transpose(1, 2) / count) @ query
        return found.reshape(len(found), -1, *student.shape[2:])


def _instance_norm(x: Tensor, weight: Tensor, eps: float = 1e-5) -> Tensor:
    """Normalise each channel of each image of x (N, C, H, W) over the positions where `weight` (N, 1, H, W) is 1."""
    count = weight.sum(dim=(2, 3), keepdim=True).clamp(min=1)
    centred = (x - (x * weight).sum(dim=(2, 3), keepdim=True) / count) * weight
    variance = centred.square().sum(dim=(2, 3), keepdim=True) / count
    return centred * (variance + eps).rsqrt()
