"""DKD: Decoupled Knowledge Distillation (arXiv 2203.08679)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .losses import as_maps, check_channels, masked_mean, ones_or, standardize_logits, visible
from .ranges import require_at_least, require_positive


class DKD(nn.Module):
    """KD split into two weighted parts: the true class against all others, and the other classes among themselves.

    Args:
        alpha: factor on the part of the true class.
        beta: factor on the part of the other classes. Published with tau 1: 0.25 for two-stage detectors, 0.5 for
            ImageNet.
        tau: temperature, above 0; both parts are multiplied by tau^2.
        standardize: first give the logits of each sample mean 0 and standard deviation 1 (arXiv 2403.01427).

    Raises:
        ValueError: if an option is out of range.
    """

    needs = ("labels",)

    def __init__(self, alpha: float = 1.0, beta: float = 0.25, tau: float = 1.0, standardize: bool = False):
        super().__init__()
        require_at_least(0, alpha=alpha, beta=beta)
        require_positive(tau=tau)
        self.alpha, self.beta, self.tau, self.standardize = alpha, beta, tau, standardize

    def forward(
        self, student: Tensor, teacher: Tensor, mask: Tensor | None = None, *, labels: Tensor
    ) -> dict[str, Tensor]:
        """Return `loss_kd` and its parts `target` and `others`, weighted, as metrics; means over samples.

        Args:
            student: logits (N, K) or (N, K, H, W) with at least two classes.
            teacher: logits of the same shape; carries no gradient.
            mask: (N, 1, H, W), 1 where a position counts, 0 where it is padding.
            labels: classes (N,) or (N, 1, H, W); samples with a class outside of [0, K - 1] do not count.

        Raises:
            ValueError: if the numbers of classes differ, or the labels are probabilities.
        """
        check_channels("teacher", teacher, student.shape[1])
        if labels.is_floating_point():
            raise ValueError(f"labels {tuple(labels.shape)} are probabilities, DKD needs one class for each sample")
        student, teacher = (visible(x, mask) for x in as_maps(student, teacher.detach()))
        if self.standardize:
            student, teacher = standardize_logits(student), standardize_logits(teacher)
        if labels.dim() == 1:
            labels = labels[:, None, None, None].expand(-1, 1, *student.shape[2:])
        counts = ones_or(mask, student) * ((labels >= 0) & (labels < student.shape[1]))
        labels = labels.clamp(0, student.shape[1] - 1)
        (binary_s, others_s), (binary_t, others_t) = (self._split(x / self.tau, labels) for x in (student, teacher))
        target, others = (
            factor * self.tau**2 * masked_mean(_divergence(s, t), counts)
            for factor, s, t in ((self.alpha, binary_s, binary_t), (self.beta, others_s, others_t))
        )
        return {"loss_kd": target + others, "target": target.detach(), "others": others.detach()}

    def _split(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return log-probabilities (N, 2, H, W) of the true class and of all others, and those within the others."""
        of_target = logits.gather(1, labels)
        # -inf times a probability of 0 would be NaN.
        without = logits.scatter(1, labels, torch.finfo(logits.dtype).min / 2)
        total, of_others = (x.logsumexp(dim=1, keepdim=True) for x in (logits, without))
        return torch.cat([of_target, of_others], dim=1) - total, without - of_others


def _divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """Return KL(teacher || student) of log-probabilities (N, K, H, W) at each position, (N, 1, H, W)."""
    return F.kl_div(student, teacher, reduction="none", log_target=True).sum(dim=1, keepdim=True)
