"""Feature maps as matrices of positions, and maps that are read without being made."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


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


class Products(torch.autograd.Function):
    """The products of the rows x (M, C) with several weights (C_i, C), which lie below each other in one (sum C_i, C).

    The gradient of x is one sum in one place; autograd would make a map for each product, and add them.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, sizes: Sequence[int]) -> tuple[Tensor, ...]:
        of_x, of_weight, _ = ctx.needs_input_grad
        ctx.save_for_backward(x if of_weight else None, weight if of_x else None)
        return tuple(x @ w.t() for w in weight.split(sizes))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        d_x = d_weight = None
        with torch.autocast(grads[0].device.type, enabled=False):
            if weight is not None:
                weights = weight.split([grad.shape[1] for grad in grads])
                d_x = grads[0] @ weights[0]
                for grad, w in zip(grads[1:], weights[1:], strict=True):
                    d_x.addmm_(grad, w)
            if x is not None:
                d_weight = torch.cat([grad.t() @ x for grad in grads])
        return d_x, d_weight, None


class AddToImages(torch.autograd.Function):
    """Add a row of bias (N, C) to each of the rows of an image in y (N H W, C), in place; N may be 1 for all images.

    To autograd the images in y are views, and what is done to views in place copies the gradient of the whole.
    """

    @staticmethod
    def forward(ctx: Any, y: Tensor, bias: Tensor) -> Tensor:
        ctx.shape, ctx.dtype = (len(bias), len(y) // max(len(bias), 1), bias.shape[1]), bias.dtype
        ctx.mark_dirty(y)
        y.view(ctx.shape).add_(bias[:, None])
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        return grad, grad.reshape(ctx.shape).sum(dim=1, dtype=ctx.dtype)


class Implied:
    """The map `scale x + sum W_i h_i + shift` that is never made: what reads it are 1x1 convolutions.

    The h_i are narrow, so that reading them costs less than making, keeping and reading the wide map.

    Args:
        x: (N, C, H, W) in channels_last.
        scale: factor.
        shift: (1, C), the same at all positions, or (N, C), the same at those of an image; None for zero.
        terms: pairs of h (N, C', H, W) and W (C, C').
        products: what `read_by` made.
    """

    def __init__(
        self,
        x: Tensor,
        scale: float = 1.0,
        shift: Tensor | None = None,
        terms: Sequence[tuple[Tensor, Tensor]] = (),
        products: Mapping[nn.Conv2d, Tensor] = MappingProxyType({}),
    ):
        self.x, self.scale, self.shift, self.terms, self.products = x, scale, shift, tuple(terms), products

    def read_by(self, *convs: nn.Conv2d) -> "Implied":
        """Return this map with the part of x in all these convolutions computed; each of them may read it once."""
        x, weight = lowered(rows(self.x)), torch.cat([conv.weight.flatten(1) for conv in convs]) * self.scale
        products = Products.apply(x, weight.to(x.dtype), [conv.out_channels for conv in convs])
        return Implied(self.x, self.scale, self.shift, self.terms, dict(zip(convs, products, strict=True)))

    def plus(self, h: Tensor, weight: Tensor, bias: Tensor) -> "Implied":
        """Return this map + W h + bias."""
        shift = bias[None] if self.shift is None else self.shift + bias
        return Implied(self.x, self.scale, shift, (*self.terms, (h, weight)), self.products)

    def conv1x1(self, conv: nn.Conv2d, biased: bool = True, shifted: bool = True) -> Tensor:
        """Return its 1x1 convolution as (N, C', H, W), without the bias if not `biased`, the shift if not `shifted`."""
        weight, added = conv.weight.flatten(1), conv.bias[None] if biased else None
        with torch.autocast(weight.device.type, enabled=False):  # small matrices, whose products become weights
            composed = [weight @ w for _, w in self.terms]
            if self.shift is not None and shifted:
                added = F.linear(self.shift, weight, conv.bias if biased else None)
            weight = weight if self.scale == 1.0 else weight * self.scale
        y = self.products.get(conv)
        if y is None:
            y = F.linear(rows(self.x), weight)
        for (h, _), w in zip(self.terms, composed, strict=True):
            y.addmm_(rows(h).to(y.dtype), w.t().to(y.dtype))
        if added is not None:
            y = AddToImages.apply(y, added)
        n, _, h, w = self.x.shape
        return y.view(n, h, w, len(weight)).permute(0, 3, 1, 2)

    def mean(self) -> Tensor:
        """Return its mean over positions, (N, C)."""
        mean = mean_over_positions(self.x) * self.scale
        for h, w in self.terms:
            mean = mean + F.linear(mean_over_positions(h), w)
        return mean if self.shift is None else mean + self.shift
