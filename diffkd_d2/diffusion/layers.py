"""Blocks that the denoiser and the noise matcher share."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from .batch_norm import conv_norm, folds, norm_folded
from .maps import Implied, channels_last

NormFactory = Callable[[int], nn.Module]


def full_precision(x: Tensor) -> Tensor:
    """Return x in float32 if its type is narrower, as under autocast; float64 stays float64."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def norm_relu(norm: NormFactory, channels: int) -> list[nn.Module]:
    """Return a norm and a ReLU, which works in place unless the norm is none.

    Without one its input is a view that a convolution has added its bias to in place, which torch.compile refuses.
    """
    layer = norm(channels)
    return [layer, nn.ReLU(inplace=not isinstance(layer, nn.Identity))]


class Conv1x1(nn.Conv2d):
    """A 1x1 convolution as one matrix product over all positions, for maps laid out as channels_last.

    torch's own choice among convolutions depends on batch size and number of threads, and may change the layout.

    Args:
        in_channels: C of the input (N, C, H, W).
        out_channels: channels of the output.
    """

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__(in_channels, out_channels, 1)

    def forward(self, x: Tensor | Implied) -> Tensor:
        """Return the convolution of a map, or of one that is implied."""
        return (x if isinstance(x, Implied) else Implied(x)).conv1x1(self)


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
            *norm_relu(norm, inner),
            nn.Conv2d(inner, inner, 3, padding=1).to(memory_format=torch.channels_last),
            *norm_relu(norm, inner),
            Conv1x1(inner, channels),
            norm(channels),
        )

    def forward(self, x: Implied) -> Implied:
        """Return x + block(x)."""
        reduce, norm, relu, conv, next_norm, next_relu, expand, last_norm = self.block
        inner = relu(conv_norm(reduce, norm, x))
        inner = next_relu(conv_norm(conv, next_norm, inner))
        if folds(last_norm, x.x):
            return x.plus(inner, *norm_folded(expand, last_norm, inner))
        return Implied(x.x + conv_norm(expand, last_norm, inner, gain=1 / x.scale), x.scale, x.shift, x.terms)
