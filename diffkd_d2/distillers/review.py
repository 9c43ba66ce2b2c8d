"""ReviewKD: Distilling Knowledge via Knowledge Review (arXiv 2104.09044)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..diffusion import Conv1x1
from .layers import MaskedBatchNorm2d
from .losses import check_channels, ones_or, visible
from .ranges import require_at_least

POOLED = (4, 2, 1)


class Review(nn.Module):
    """Fuse the student's levels from the coarsest to the finest; compare each with the teacher's at four scales.

    Use it with `DistillPoint(levels=...)`. Published with weight 1 for P2 to P6 of Faster R-CNN, P3 to P7 of RetinaNet.

    Args:
        student_channels: Cs, the same for all levels.
        teacher_channels: Ct, the same for all levels.
        num_levels: L, number of levels.
        inner_channels: width of the maps that are passed down.

    Raises:
        ValueError: if an option is out of range.
    """

    def __init__(self, student_channels: int, teacher_channels: int, num_levels: int, inner_channels: int = 256):
        super().__init__()
        require_at_least(
            1,
            student_channels=student_channels,
            teacher_channels=teacher_channels,
            num_levels=num_levels,
            inner_channels=inner_channels,
        )
        self.student_channels, self.teacher_channels = student_channels, teacher_channels
        self.fusions = nn.ModuleList(
            Fusion(student_channels, inner_channels, teacher_channels, coarsest=level == num_levels - 1)
            for level in range(num_levels)
        )

    def forward(
        self, student: Sequence[Tensor], teacher: Sequence[Tensor], mask: Sequence[Tensor | None] | None = None
    ) -> dict[str, Tensor]:
        """Return `loss_kd`, the sum over levels.

        Args:
            student: L maps (N, Cs, H, W), finest first.
            teacher: L maps (N, Ct, H, W), carry no gradient.
            mask: for each level None or (N, 1, H, W), 1 where a position counts, 0 where it is padding. The positions
                that count are a rectangle that starts at the top left.

        Raises:
            ValueError: if the number of levels, or of channels of a feature, is not the one that the distiller was
                built for.
        """
        if isinstance(student, Tensor) or len(student) != len(self.fusions):
            found = "one map" if isinstance(student, Tensor) else f"{len(student)} levels"
            raise ValueError(f"there are {len(self.fusions)} levels in the config, the point gives {found}")
        masks = [None] * len(student) if mask is None else mask
        residual, losses = None, []
        for fusion, s, t, m in reversed(list(zip(self.fusions, student, teacher, masks, strict=True))):
            check_channels("student", s, self.student_channels)
            check_channels("teacher", t, self.teacher_channels)
            output, residual = fusion(visible(s, m), residual, m)
            losses.append(hierarchical_distance(output, t, m))
        return {"loss_kd": torch.stack(losses).sum()}


class Fusion(nn.Module):
    """One level: blend the student's map with the map of the coarser level, with a weight for each position.

    Args:
        in_channels: Cs.
        inner_channels: C, width of the map that is passed to the finer level.
        out_channels: Ct.
        coarsest: whether there is no coarser level.
    """

    def __init__(self, in_channels: int, inner_channels: int, out_channels: int, coarsest: bool):
        super().__init__()
        self.reduce = nn.Conv2d(in_channels, inner_channels, 1, bias=False)
        self.reduce_norm = MaskedBatchNorm2d(inner_channels)
        self.expand = nn.Conv2d(inner_channels, out_channels, 3, padding=1, bias=False)
        self.expand_norm = MaskedBatchNorm2d(out_channels)
        self.attention = None if coarsest else Conv1x1(2 * inner_channels, 2)
        for conv in (self.reduce, self.expand):
            nn.init.kaiming_uniform_(conv.weight, a=1)

    def forward(self, x: Tensor, coarser: Tensor | None, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the map to compare, (N, Ct, H, W), and the map for the finer level, (N, C, H, W).

        Args:
            x: the student's map, (N, Cs, H, W).
            coarser: map of the coarser level, (N, C, H', W'); None on the coarsest.
            mask: (N, 1, H, W) or None.
        """
        x = self.reduce_norm(self.reduce(x), mask)
        if self.attention is not None and coarser is not None:
            coarser = F.interpolate(coarser, x.shape[2:], mode="nearest")
            weights = self.attention(torch.cat([x, coarser], dim=1)).sigmoid()
            x = x * weights[:, :1] + coarser * weights[:, 1:]
            x = x if mask is None else x * mask.to(x.dtype)
        return self.expand_norm(self.expand(x), mask), x


def hierarchical_distance(student: Tensor, teacher: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return the weighted mean of the MSE of two maps and of their averages over grids of 4x4, 2x2 and 1x1 cells.

    The map has weight 1, and each grid half the weight of the scale before it. Grids with at least as many rows as the
    map are left out. Each image is pooled as if its padding were cropped.

    Args:
        student: (N, C, H, W).
        teacher: (N, C, H, W).
        mask: (N, 1, H, W), 1 on a rectangle that starts at the top left of each image. If None, everywhere.
    """
    student, teacher = visible(student, mask), visible(teacher, mask)
    weight = ones_or(mask, teacher)
    heights, widths = weight.amax(dim=3).sum(dim=2), weight.amax(dim=2).sum(dim=2)  # (N, 1) each
    error = student - teacher
    positions = (heights * widths)[:, 0].clamp(min=1)
    distance = error.square().sum(dim=(1, 2, 3)) / (positions * error.shape[1])
    total = factor = torch.ones_like(distance)
    with torch.autocast(error.device.type, enabled=False):
        for cells in POOLED:
            applied = heights[:, 0] > cells
            factor = torch.where(applied, factor / 2, factor)
            rows, columns = _pooling(heights, error.shape[2], cells), _pooling(widths, error.shape[3], cells)
            pooled = torch.einsum("nay,ncyx,nbx->ncab", rows, error, columns)
            distance = distance + applied * factor * pooled.square().mean(dim=(1, 2, 3))
            total = total + applied * factor
    return (distance / total).mean()


def _pooling(extents: Tensor, size: int, cells: int) -> Tensor:
    """Return the weights (N, cells, size) of adaptive average pooling of the first `extents` (N, 1) of `size`."""
    cell, position = (torch.arange(n, device=extents.device) for n in (cells, size))
    low = (cell * extents / cells).floor()[:, :, None]
    high = ((cell + 1) * extents / cells).ceil()[:, :, None]
    inside = ((position >= low) & (position < high)).to(extents.dtype)
    return inside / inside.sum(dim=2, keepdim=True).clamp(min=1)
