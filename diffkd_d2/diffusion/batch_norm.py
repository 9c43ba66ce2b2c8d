"""Batch norm with as few passes over maps as its mathematics needs."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from .maps import Implied, rows

# Entries of a map from which it is cheaper to fold the norm than to make the map; on smaller ones the many operations
# on small matrices cost more than they save. Measured on a CPU.
FOLDED_FROM = 2**18


class BatchNorm2d(nn.BatchNorm2d):
    """Batch norm that uses its running statistics where a batch has one value per channel.

    A batch of one image on the coarsest level (a map of 1x1) has no variance; torch raises there.
    """

    def forward(self, x: Tensor) -> Tensor:
        if self.training and x.numel() == x.shape[1]:
            # Copies: autograd keeps them, and a later call of a shared norm moves the statistics.
            mean, var = self.running_mean.clone(), self.running_var.clone()
            return F.batch_norm(x, mean, var, self.weight, self.bias, False, 0.0, self.eps)
        return super().forward(x)


def uses_batch_statistics(norm: nn.Module, x: Tensor) -> bool:
    """Whether `norm` is a batch norm, as it is by default, that normalises x (N, C, H, W) by x's own statistics."""
    plain = type(norm) is BatchNorm2d and norm.affine and norm.track_running_stats and norm.momentum is not None
    return plain and norm.training and x.numel() > x.shape[1]


def folds(norm: nn.Module, x: Tensor) -> bool:
    """Whether `norm`, a batch norm of a map as large as x behind a 1x1 convolution, is folded into its weight."""
    return uses_batch_statistics(norm, x) and x.numel() >= FOLDED_FROM


def conv_norm(conv: nn.Module, norm: nn.Module, x: Tensor | Implied, gain: float = 1.0) -> Tensor:
    """Return gain * norm(conv(x)).

    The mean that a batch norm subtracts contains the bias of the convolution and a shift of x that is the same for all
    images: neither is added to the map, both only to the running mean. (One time step for a whole batch is such a
    shift. Under batch norm it has no influence on the sampling chain; the authors' code is the same in this.) The gain
    goes into the norm's parameters.

    Args:
        conv: a convolution; a `Conv1x1` where x is implied.
        norm: any norm; only a batch norm in training is made cheaper.
        x: a map (N, C, H, W), or one that is implied.
        gain: factor.
    """
    implied = x if isinstance(x, Implied) else Implied(x)
    if not uses_batch_statistics(norm, implied.x):
        y = norm(conv(x))
        return y if gain == 1.0 else y * gain
    shift = implied.shift
    shifted = shift is not None and len(shift) > 1  # a shift that differs between images stays
    if conv.kernel_size == (1, 1):
        y = implied.conv1x1(conv, biased=False, shifted=shifted)
    else:
        y = conv._conv_forward(implied.x, conv.weight, None)
    gamma = norm.weight if gain == 1.0 else norm.weight * gain
    # The bias keeps its gradient, of zero: DDP waits for one of each parameter.
    beta = torch.add(norm.bias if gain == 1.0 else norm.bias * gain, conv.bias, alpha=0)
    y = F.batch_norm(y, norm.running_mean, norm.running_var, gamma, beta, True, norm.momentum, norm.eps)
    with torch.no_grad(), torch.autocast(y.device.type, enabled=False):
        dropped = shift is not None and not shifted
        offset = torch.addmv(conv.bias, conv.weight.flatten(1), shift[0]) if dropped else conv.bias
        # `data`: autograd keeps the running mean of each call, unread, and would refuse one that has changed.
        norm.running_mean.data.add_(offset, alpha=norm.momentum)
        norm.num_batches_tracked.add_(1)
    return y


class FoldedNorm(torch.autograd.Function):
    """Weight and bias of the linear map `norm(W x + b)`, with mean and variance of W x + b, from the rows x.

    With mean m and covariance S of the rows: mean W m + b, variance v = diag(W S W^T), scale s = gamma / sqrt(v + eps),
    weight s W, bias beta - s W m; b has no influence, and a gradient of zero. It is written out by hand because the
    matrices are small, so that their number of operations is what they cost: autograd would need three times as many.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, b: Tensor, gamma: Tensor, beta: Tensor, eps: float
    ) -> tuple[Tensor, ...]:
        mean = x.mean(dim=0)
        covariance = torch.addmm(torch.outer(mean, mean), x.t(), x, beta=-1, alpha=1 / len(x))
        projected = weight @ covariance
        var = (weight * projected).sum(dim=1).clamp_(min=0)
        inverse = (var + eps).rsqrt_()
        folded = weight * (gamma * inverse)[:, None]
        ctx.save_for_backward(x, weight, gamma, mean, projected, inverse, folded)
        mean_out = torch.addmv(b, weight, mean)
        ctx.mark_non_differentiable(mean_out, var)
        return folded, torch.addmv(beta, folded, mean, alpha=-1), mean_out, var

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_folded: Tensor, d_bias: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, gamma, mean, projected, inverse, folded = ctx.saved_tensors
        with torch.autocast(x.device.type, enabled=False):
            d_folded = torch.addr(d_folded, d_bias, mean, alpha=-1)
            d_scale = (d_folded * weight).sum(dim=1)
            d_var = d_scale * gamma * inverse.pow(3) * -0.5
            d_weight = torch.addcmul(d_folded * (gamma * inverse)[:, None], projected, d_var[:, None], value=2)
            d_covariance = weight.t() @ (weight * d_var[:, None])
            d_mean = torch.addmv(folded.t() @ d_bias, d_covariance, mean, beta=-1, alpha=-2)
            d_x = torch.addmm(d_mean / len(x), x, d_covariance, alpha=2 / len(x))
        return d_x, d_weight, torch.zeros_like(gamma), d_scale * inverse, d_bias, None


def norm_folded(conv: nn.Conv2d, norm: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return weight (C', C) and bias (C',) of the 1x1 convolution that equals `norm(conv(x))`.

    A batch norm behind a linear map is a linear map: its statistics follow from mean and covariance of the map's
    input. Where the output is wider than the input that spares several passes over it, and the memory for it. The
    running statistics are updated.

    Args:
        conv: the convolution.
        norm: a batch norm that uses batch statistics.
        x: the input of `conv` (N, C, H, W).
    """
    with torch.autocast(x.device.type, enabled=False):
        parameters = (conv.weight.flatten(1), conv.bias, norm.weight, norm.bias)
        weight, bias, mean, var = FoldedNorm.apply(rows(x).float(), *parameters, norm.eps)
    count = x.numel() // x.shape[1]
    with torch.no_grad():
        norm.num_batches_tracked.add_(1)
        norm.running_mean.data.lerp_(mean, norm.momentum)
        norm.running_var.data.lerp_(var * (count / (count - 1)), norm.momentum)
    return weight, bias
