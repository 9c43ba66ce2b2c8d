"""Blocks that the denoiser and the noise matcher share."""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

NormFactory = Callable[[int], nn.Module]


class BatchNorm2d(nn.BatchNorm2d):
    """Batch norm that uses its running statistics where a batch has one value per channel.

    A batch of one image on the coarsest level (a map of 1x1) has no variance; torch raises there.
    """

    def forward(self, x: Tensor) -> Tensor:
        if self.training and x.numel() == x.shape[1]:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)
        return super().forward(x)


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions, each normalised, with the identity added.

    Args:
        channels: C, of input and output (N, C, H, W).
        reduction: the inner width is C / reduction.
        norm: channels -> normalisation module.
    """

    def __init__(self, channels: int, reduction: int, norm: NormFactory):
        super().__init__()
        inner = max(channels // reduction, 1)
        self.block = nn.Sequential(
            nn.Conv2d(channels, inner, 1),
            norm(inner),
            nn.ReLU(inplace=True),
            nn.Conv2d(inner, inner, 3, padding=1),
            norm(inner),
            nn.ReLU(inplace=True),
            nn.Conv2d(inner, channels, 1),
            norm(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.block(x)
