"""Unit scale for a frozen teacher's features."""

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from .layers import full_precision


class Standardize(nn.Module):
    """Subtract the mean and divide by the standard deviation per channel, over all positions seen so far.

    The diffusion adds noise of unit variance, so the features must have unit variance; FPN features do not. The teacher
    is frozen, so the statistics are pooled over the whole run (all batches and processes) and converge. Eval mode does
    not update them.

    Args:
        channels: C of the feature.
        eps: added to the variance.
    """

    count: Tensor
    mean: Tensor
    var: Tensor

    def __init__(self, channels: int, eps: float = 1e-5):
        super().__init__()
        self.eps = eps
        self.register_buffer("count", torch.zeros(()))
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("var", torch.ones(channels))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return x (N, C, H, W) standardised, in float32; `mask` (N, 1, H, W) says which positions count."""
        x = full_precision(x)
        if self.training:
            self._update(x, mask)
        return F.batch_norm(x, self.mean, self.var, eps=self.eps)

    @torch.no_grad()
    def _update(self, x: Tensor, mask: Tensor | None) -> None:
        # (C, positions), a view of a map in channels_last; a masked sum over positions is a product with the mask.
        x = x.permute(0, 2, 3, 1).flatten(0, 2).t()
        mask = x.new_ones(x.shape[1]) if mask is None else mask.flatten().to(x.dtype)
        # Two passes, the second around the batch's mean, because E[x^2] - E[x]^2 can be negative if the mean is large.
        with torch.autocast(x.device.type, enabled=False):
            sums = _sum_over_processes(torch.cat([mask.sum()[None], x @ mask]))
            count, mean = sums[0], sums[1:] / sums[0].clamp(min=1)
            squares = _sum_over_processes((x - mean[:, None]).square_() @ mask)
        # Combine with the statistics so far (Chan, Golub and LeVeque, 1979).
        total = (self.count + count).clamp(min=1)
        shift = mean - self.mean
        squares += self.count * self.var + shift.square() * self.count * count / total
        self.var.copy_(squares / total)
        self.mean.add_(shift * count / total)
        self.count.add_(count)


def _sum_over_processes(x: Tensor) -> Tensor:
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        dist.all_reduce(x)
    return x
