"""DIST: Knowledge Distillation from A Stronger Teacher (arXiv 2205.10536)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..diffusion import full_precision
from .losses import check_channels
from .ranges import require_at_least, require_positive


class DIST(nn.Module):
    """Pearson distance between class probabilities: over the classes of each sample, and over the batch for each class.

    Unlike KL it ignores scale and shift and keeps only the teacher's relations (the paper's eq. 7 to 10).

    Args:
        tau: temperature of both softmaxes, above 0; the loss is multiplied by tau^2.
        inter_weight: factor on the relation of the classes within a sample (the paper's beta).
        intra_weight: factor on the relation of the samples within a class (the paper's gamma).

    Raises:
        ValueError: if `tau` is not positive or a weight is negative.
    """

    def __init__(self, tau: float = 1.0, inter_weight: float = 1.0, intra_weight: float = 1.0):
        super().__init__()
        require_positive(tau=tau)
        require_at_least(0, inter_weight=inter_weight, intra_weight=intra_weight)
        self.tau, self.inter_weight, self.intra_weight = tau, inter_weight, intra_weight

    def forward(self, student: Tensor, teacher: Tensor, mask: Tensor | None = None) -> dict[str, Tensor]:
        """Return `loss_kd`.

        Args:
            student: logits (N, K), or (N, K, H, W) whose positions count as samples.
            teacher: logits of the same shape; carries no gradient.
            mask: (N, 1, H, W), 1 where a position counts, 0 where it is padding.

        Raises:
            ValueError: if the numbers of classes differ.
        """
        check_channels("teacher", teacher, student.shape[1])
        rows = [_rows(x, mask).div(self.tau).softmax(dim=1) for x in (student, teacher.detach())]
        if len(rows[0]) == 0:  # an ROI head without boxes: the mean of an empty tensor is NaN
            return {"loss_kd": rows[0].sum()}
        inter = _pearson_distance(*rows)
        intra = _pearson_distance(*(x.t() for x in rows))
        return {"loss_kd": self.tau**2 * (self.inter_weight * inter + self.intra_weight * intra)}


def _rows(logits: Tensor, mask: Tensor | None) -> Tensor:
    """Return logits (N, K) or (N, K, H, W) as (samples, K) in at least float32, without positions outside the mask."""
    logits = full_precision(logits)
    rows = logits.flatten(2).movedim(1, -1).flatten(0, -2) if logits.dim() > 2 else logits
    return rows if mask is None else rows[mask.flatten() > 0]


def _pearson_distance(a: Tensor, b: Tensor) -> Tensor:
    """Return 1 minus the correlation of corresponding rows, averaged."""
    a, b = (x - x.mean(dim=1, keepdim=True) for x in (a, b))
    return 1 - torch.mean(F.cosine_similarity(a, b, dim=1))
