"""KD: Distilling the Knowledge in a Neural Network (arXiv 1503.02531)."""

from torch import Tensor, nn

from .losses import as_maps, check_channels, masked_kl, standardize_logits, visible
from .ranges import require_positive


class KD(nn.Module):
    """KL divergence between the softened class probabilities of teacher and student, times tau^2.

    Args:
        tau: temperature, above 0.
        standardize: first give the logits of each sample mean 0 and standard deviation 1 (arXiv 2403.01427).
            Published: tau 2, weight 9.

    Raises:
        ValueError: if `tau` is not positive.
    """

    def __init__(self, tau: float = 4.0, standardize: bool = False):
        super().__init__()
        require_positive(tau=tau)
        self.tau, self.standardize = tau, standardize

    def forward(self, student: Tensor, teacher: Tensor, mask: Tensor | None = None) -> dict[str, Tensor]:
        """Return `loss_kd`, the mean over samples (and positions).

        Args:
            student: logits (N, K) or (N, K, H, W).
            teacher: logits of the same shape; carries no gradient.
            mask: (N, 1, H, W), 1 where a position counts, 0 where it is padding.

        Raises:
            ValueError: if the numbers of classes differ.
        """
        check_channels("teacher", teacher, student.shape[1])
        student, teacher = (visible(x, mask) for x in as_maps(student, teacher.detach()))
        if self.standardize:
            student, teacher = standardize_logits(student), standardize_logits(teacher)
        return {"loss_kd": masked_kl(student, teacher, self.tau, mask)}
