"""How alike two features are: cosine similarity, CKA, and common colours for both."""

import torch
from torch import Tensor


def positions(feature: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return the vectors (P, C) of a map (N, C, H, W) or of rows (N, C), without the masked positions.

    Args:
        feature: the map or the rows.
        mask: (N, 1, H, W), 0 where a position is padding.
    """
    rows = feature.detach().float().movedim(1, -1).flatten(0, -2)
    return rows if mask is None else rows[mask.flatten() > 0]


def cosine(a: Tensor, b: Tensor) -> float:
    """Return the mean cosine similarity, in [-1, 1], of the vectors (P, C) of two features."""
    return float(torch.cosine_similarity(a, b, dim=1).mean())


def cka(a: Tensor, b: Tensor) -> float:
    """Return linear CKA (Kornblith et al., arXiv 1905.00414, eq. 5), in [0, 1].

    It compares features of different width, and is blind to rotation and scale. With fewer positions than channels
    it is high for any pair.

    Args:
        a: (P, C1).
        b: (P, C2).
    """
    a, b = a - a.mean(dim=0), b - b.mean(dim=0)
    norms = (a.T @ a).norm() * (b.T @ b).norm()
    return float((b.T @ a).norm().square() / norms.clamp(min=1e-12))


class CommonColours:
    """Colours by the three main axes of one feature, on one scale for all that are painted with it.

    Args:
        rows: (P, C), the vectors whose axes and range are taken.
    """

    def __init__(self, rows: Tensor):
        self.mean = rows.mean(dim=0)
        axes = torch.linalg.svd(rows - self.mean, full_matrices=False).Vh[:3]
        # An axis has no direction: let its largest entry be positive.
        self.axes = axes * axes.gather(1, axes.abs().argmax(dim=1, keepdim=True)).sign()
        values = (rows - self.mean) @ self.axes.T
        self.low, self.high = values.quantile(0.02, dim=0), values.quantile(0.98, dim=0)

    def __call__(self, feature: Tensor) -> Tensor:
        """Return an RGB image (H, W, 3) in [0, 1] of a feature (C, H, W) with as many channels."""
        values = (feature.detach().float().movedim(0, -1) - self.mean) @ self.axes.T
        scaled = ((values - self.low) / (self.high - self.low).clamp(min=1e-6)).clamp(0, 1)
        return torch.nn.functional.pad(scaled, (0, 3 - scaled.shape[-1]), value=0.5)
