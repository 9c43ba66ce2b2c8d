"""Feature maps as matrices of positions, and maps that are read without being made."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


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


def rows(x: Tensor) -> Tensor:
    """Return x (N, C, H, W) in channels_last as a matrix (N H W, C), a view."""
    return x.permute(0, 2, 3, 1).flatten(0, 2)


class Implied:
    """The map `scale x + sum W_i h_i + shift` that is never made: what reads it are 1x1 convolutions.

    The h_i are narrow, so that reading them costs less than making, keeping and reading the wide map.

    Args:
        x: (N, C, H, W) in channels_last.
        scale: factor.
        shift: (C,), the same at each position; None for zero.
        terms: pairs of h (N, C', H, W) and W (C, C').
    """

    def __init__(
        self, x: Tensor, scale: float = 1.0, shift: Tensor | None = None, terms: Sequence[tuple[Tensor, Tensor]] = ()
    ):
        self.x, self.scale, self.shift, self.terms = x, scale, shift, tuple(terms)

    def plus(self, h: Tensor, weight: Tensor, bias: Tensor) -> "Implied":
        """Return this map + W h + bias."""
        shift = bias if self.shift is None else self.shift + bias
        return Implied(self.x, self.scale, shift, (*self.terms, (h, weight)))

    def conv1x1(self, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return its convolution with weight (C', C) and bias (C',) as (N, C', H, W).

        Without a bias it is that of the map without its shift.
        """
        with torch.autocast(weight.device.type, enabled=False):  # small matrices, whose products become weights
            composed = [weight @ w for _, w in self.terms]
            if bias is not None and self.shift is not None:
                bias = torch.addmv(bias, weight, self.shift)
            weight = weight if self.scale == 1.0 else weight * self.scale
        y = F.linear(rows(self.x), weight, bias)
        for (h, _), w in zip(self.terms, composed, strict=True):
            y.addmm_(rows(h).to(y.dtype), w.t().to(y.dtype))
        n, _, h, w = self.x.shape
        return y.view(n, h, w, len(weight)).permute(0, 3, 1, 2)

    def mean(self) -> Tensor:
        """Return its mean over positions, (N, C)."""
        mean = mean_over_positions(self.x) * self.scale
        for h, w in self.terms:
            mean = mean + F.linear(mean_over_positions(h), w)
        return mean if self.shift is None else mean + self.shift
