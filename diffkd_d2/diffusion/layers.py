"""The layers that DiffKD is made of. Maps are (N, C, H, W) in channels_last memory format."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NormFactory = Callable[[int], nn.Module]
"""Function that returns a norm layer for a number of channels."""


def channels_last(x: Tensor) -> Tensor:
    """Return x (N, C, H, W) in channels_last memory format."""
    return x.contiguous(memory_format=torch.channels_last)


def full_precision(x: Tensor) -> Tensor:
    """Return x in float32 if its dtype is narrower, as under autocast; float64 stays float64."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def normal_like(x: Tensor) -> Tensor:
    """Return standard normal noise of the shape of x (N, C, H, W) in channels_last, in float32 or float64.

    `randn_like` of a tensor in channels_last is eight times slower on a CPU.
    """
    n, c, h, w = x.shape
    dtype = torch.promote_types(x.dtype, torch.float32)
    return torch.randn(n, h, w, c, dtype=dtype, device=x.device).permute(0, 3, 1, 2)


class Conv1x1(nn.Conv2d):
    """A 1x1 convolution, computed as one matrix product over all positions.

    On a CPU with two threads `nn.Conv2d` takes 1.5 times as long. The output is in channels_last.

    Args:
        in_channels: C of the input (N, C, H, W).
        out_channels: C' of the output (N, C', H, W).
    """

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__(in_channels, out_channels, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution of x."""
        return F.linear(x.permute(0, 2, 3, 1), self.weight.flatten(1), self.bias).permute(0, 3, 1, 2)


class BatchNorm2d(nn.BatchNorm2d):
    """Batch norm that uses its running statistics if a batch has one value per channel.

    One value, such as that of a 1x1 map of one image, has no variance; torch's batch norm raises an error for it.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return x (N, C, H, W), normalised."""
        mean, var = self.running_mean, self.running_var
        if not self.training or x.numel() > x.shape[1] or mean is None or var is None:
            return super().forward(x)
        # Copies, because autograd keeps these tensors and a later call of the norm changes the statistics in place.
        return F.batch_norm(x, mean.clone(), var.clone(), self.weight, self.bias, eps=self.eps)


class Bottleneck(nn.Module):
    """Residual block of 1x1, 3x3 and 1x1 convolutions, each with a norm.

    Args:
        channels: C of input and output (N, C, H, W).
        reduction: the inner width is C / reduction, at least 1.
        norm: function that returns a norm layer for a number of channels.
    """

    def __init__(self, channels: int, reduction: int, norm: NormFactory):
        super().__init__()
        inner = max(channels // reduction, 1)
        self.block = nn.Sequential(
            Conv1x1(channels, inner),
            norm(inner),
            nn.ReLU(inplace=True),
            nn.Conv2d(inner, inner, 3, padding=1),
            norm(inner),
            nn.ReLU(inplace=True),
            Conv1x1(inner, channels),
            norm(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return x + block(x)."""
        return x + self.block(x)
