"""Blocks that the denoiser and the noise matcher share."""

from collections.abc import Callable

import torch
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


def channels_last(x: Tensor) -> Tensor:
    """Lay x (N, C, H, W) out so that 1x1 convolutions are matrix products of views."""
    return x.contiguous(memory_format=torch.channels_last)


def normal_like(x: Tensor) -> Tensor:
    """Return standard normal noise, float32, of the shape of x (N, C, H, W), laid out as channels_last.

    On a CPU `randn_like` of a tensor in that layout is eight times slower.
    """
    n, c, h, w = x.shape
    return torch.randn(n, h, w, c, device=x.device).permute(0, 3, 1, 2)


def mean_over_positions(x: Tensor) -> Tensor:
    """Return (N, C) of x (N, C, H, W) in channels_last; the gradient has that layout too."""
    return x.permute(0, 2, 3, 1).flatten(1, 2).mean(dim=1)


def lowered(x: Tensor) -> Tensor:
    """Return x in the type of autocast, where it is on: a residual block would keep float32 maps in float32."""
    kind = x.device.type
    return x.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else x


class Conv1x1(nn.Conv2d):
    """A 1x1 convolution as one matrix product over all positions, for maps laid out as channels_last.

    torch's own choice among convolutions depends on batch size and number of threads, and may change the layout.

    Args:
        in_channels: C of the input (N, C, H, W).
        out_channels: channels of the output.
    """

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__(in_channels, out_channels, 1)

    def forward(self, x: Tensor, shift: Tensor | None = None) -> Tensor:
        """Return the convolution of x + shift; `shift` is (C,) and costs no pass over x: it goes into the bias."""
        weight = self.weight.flatten(1)
        bias = self.bias if shift is None else torch.addmv(self.bias, weight, shift)
        rows = x.permute(0, 2, 3, 1)
        return F.linear(rows.flatten(0, 2), weight, bias).unflatten(0, rows.shape[:3]).permute(0, 3, 1, 2)


def norm_folded(conv: Conv1x1, norm: nn.Module, x: Tensor) -> tuple[Tensor, Tensor] | None:
    """Return weight (C', C) and bias (C',) of the 1x1 convolution that equals `norm(conv(x))`, or None.

    A batch norm behind a linear map is a linear map: its statistics follow from mean and covariance of the map's
    input, W m and diag(W K W^T). Where the output is wider than the input that spares several passes over it, and
    the memory for it. None where `norm` is no batch norm in training. The running statistics are updated.

    Args:
        conv: the convolution.
        norm: what follows it.
        x: its input (N, C, H, W).
    """
    count = x.numel() // x.shape[1]
    if type(norm) is not BatchNorm2d or not norm.training or norm.momentum is None or count == 1:
        return None
    with torch.autocast(x.device.type, enabled=False):
        weight, rows = conv.weight.flatten(1), x.permute(0, 2, 3, 1).flatten(0, 2).float()
        mean = rows.mean(dim=0)
        covariance = rows.t() @ rows / count - torch.outer(mean, mean)
        mean = weight @ mean + conv.bias
        var = (weight @ covariance * weight).sum(dim=1).clamp(min=0)
        scale = norm.weight * (var + norm.eps).rsqrt()
    if norm.momentum:  # none while activations are recomputed
        with torch.no_grad():
            norm.num_batches_tracked.add_(1)
            norm.running_mean.lerp_(mean, norm.momentum)
            norm.running_var.lerp_(var * (count / (count - 1)), norm.momentum)
    return weight * scale[:, None], norm.bias + (conv.bias - mean) * scale


class Align(Conv1x1):
    """A 1x1 convolution of a detector's map, which is not in channels_last, to one that is.

    Only the result is laid out anew. A copy of the input would be wider, and its gradient would have to be copied back.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution of x (N, C, H, W)."""
        weight = self.weight.flatten(1).expand(len(x), -1, -1)
        return channels_last(torch.baddbmm(self.bias[:, None], weight, x.flatten(2)).unflatten(2, x.shape[2:]))


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
            Conv1x1(channels, inner),
            norm(inner),
            nn.ReLU(inplace=True),
            nn.Conv2d(inner, inner, 3, padding=1),
            norm(inner),
            nn.ReLU(inplace=True),
            Conv1x1(inner, channels),
            norm(channels),
        )

    def forward(self, x: Tensor, shift: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Return y and its shift for x and its shift; the features meant are x + shift and y + shift.

        A shift, (C,) or None for zero, is the same at each position: what reads the map takes it as a bias.
        """
        inner, folded = self._narrow(x, shift)
        if folded is None:
            return x + self.block[6:](inner), shift
        weight, bias = folded
        n, c, h, w = x.shape
        x, inner = (f.permute(0, 2, 3, 1).flatten(0, 2) for f in (x, inner))
        y = torch.addmm(x, inner, weight.t()).view(n, h, w, c).permute(0, 3, 1, 2)
        return y, bias if shift is None else bias + shift

    def pooled(self, x: Tensor) -> Tensor:
        """Return the mean of the output over all positions, (N, C), where possible without making the output."""
        inner, folded = self._narrow(x, None)
        if folded is None:
            return mean_over_positions(x + self.block[6:](inner))
        return mean_over_positions(x) + F.linear(mean_over_positions(inner), *folded)

    def _narrow(self, x: Tensor, shift: Tensor | None) -> tuple[Tensor, tuple[Tensor, Tensor] | None]:
        inner = self.block[1:6](self.block[0](x, shift))
        return inner, norm_folded(self.block[6], self.block[7], inner)
