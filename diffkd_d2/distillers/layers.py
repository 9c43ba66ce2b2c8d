"""Layers that several methods share."""

import torch
from torch import Tensor, nn

from ..diffusion import BatchNorm2d, Conv1x1
from .losses import visible


def align_channels(student_channels: int, teacher_channels: int) -> nn.Module:
    """Return a 1x1 convolution if the numbers of channels differ, else (as in published pairs) the identity."""
    same = student_channels == teacher_channels
    return nn.Identity() if same else Conv1x1(student_channels, teacher_channels)


class MaskedBatchNorm2d(BatchNorm2d):
    """Batch norm over the positions of a mask; the output is zero at all other positions."""

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return x (N, C, H, W) normalised; `mask` (N, 1, H, W) says which positions count. If None, all count."""
        if mask is None:
            return super().forward(x)
        if not self.training:
            return visible(super().forward(x), mask)
        x, mask = visible(x, mask), mask.to(x.dtype)
        count = mask.sum().clamp(min=1)
        mean = x.sum(dim=(0, 2, 3)) / count
        centred = (x - mean[:, None, None]) * mask
        var = centred.square().sum(dim=(0, 2, 3)) / count
        self._track(mean, var * (count / (count - 1).clamp(min=1)))
        scale = (self.weight * (var + self.eps).rsqrt())[:, None, None]
        return centred * scale + self.bias[:, None, None] * mask

    @torch.no_grad()
    def _track(self, mean: Tensor, var: Tensor) -> None:
        assert self.running_mean is not None and self.running_var is not None and self.momentum is not None
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
        self.running_var.lerp_(var.to(self.running_var.dtype), self.momentum)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
