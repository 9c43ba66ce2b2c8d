"""SKD: Structured Knowledge Distillation for Semantic Segmentation (arXiv 1903.04197), its pair-wise term."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .losses import ones_or, visible


class Pairwise(nn.Module):
    """MSE of the cosine similarities of all pairs of positions of an image, after 2x2 max-pooling.

    For maps S and T as matrices of channels by positions, |S'S - T'T|^2 = |SS'|^2 - 2 |ST'|^2 + |TT'|^2. The right side
    needs only matrices of channels by channels. The module has no parameters; the numbers of channels may differ.
    """

    def forward(self, student: Tensor, teacher: Tensor, mask: Tensor | None = None) -> dict[str, Tensor]:
        """Return `loss_kd`, the mean over pairs of positions and over images.

        Args:
            student: (N, Cs, H, W).
            teacher: (N, Ct, H, W), carries no gradient.
            mask: (N, 1, H, W), 1 where a position counts, 0 where it is padding.
        """
        weight = F.max_pool2d(ones_or(mask, visible(teacher)), 2, ceil_mode=True)
        with torch.autocast(teacher.device.type, enabled=False):
            s, t = (self._directions(x, mask, weight) for x in (student, teacher))
            products = [(a @ b.transpose(1, 2)).square().sum(dim=(1, 2)) for a, b in ((s, s), (s, t), (t, t))]
        pairs = weight.sum(dim=(1, 2, 3)).clamp(min=1).square()
        return {"loss_kd": ((products[0] - 2 * products[1] + products[2]) / pairs).mean()}

    def _directions(self, x: Tensor, mask: Tensor | None, weight: Tensor) -> Tensor:
        """Return the pooled map as (N, C, positions): unit vectors at positions that count, 0 elsewhere."""
        x = visible(x)
        if mask is not None:
            x = x.masked_fill(mask == 0, torch.finfo(x.dtype).min)
        pooled = visible(F.max_pool2d(x, 2, ceil_mode=True), weight)
        return F.normalize(pooled, dim=1).flatten(2)
