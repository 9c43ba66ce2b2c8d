"""MGD: Masked Generative Distillation (arXiv 2205.01529)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layers import align_channels
from .losses import visible
from .map_distiller import MapDistiller


class MaskedGenerative(MapDistiller):
    """Erase positions of the student's map and generate the teacher's whole map from the rest.

    Args:
        student_channels: Cs.
        teacher_channels: Ct.
        ratio: share of the positions to erase, in [0, 1]. The device's generator draws them at each step.
            Published: 0.65 for one-stage detectors, 0.45 for two-stage ones, 0.75 for segmentation.
        reduction: "sum" (as published) sums the squared errors over channels and positions and averages over images.
            It grows with the size of the images; the published weights (2e-5 one-stage, 5e-7 two-stage) are for
            800x1333 pixels. "mean" averages over channels and positions too.

    Raises:
        ValueError: if an option is out of range.
    """

    def __init__(self, student_channels: int, teacher_channels: int, ratio: float = 0.65, reduction: str = "sum"):
        super().__init__(student_channels, teacher_channels)
        if not 0 <= ratio <= 1 or reduction not in ("sum", "mean"):
            raise ValueError(f"ratio is {ratio}, expected 0 to 1; reduction is '{reduction}', expected sum or mean")
        self.ratio, self.reduction = ratio, reduction
        self.align = align_channels(student_channels, teacher_channels)
        self.generation = nn.ModuleList(nn.Conv2d(teacher_channels, teacher_channels, 3, padding=1) for _ in range(2))

    def forward(self, student: Tensor, teacher: Tensor, mask: Tensor | None = None) -> dict[str, Tensor]:
        """Return `loss_kd`."""
        student, teacher = self.visible_pair(student, teacher, mask)
        generated = self._generate(self.align(student), mask)
        error = (visible(generated, mask) - teacher).square().sum()
        if self.reduction == "sum":
            return {"loss_kd": error / len(teacher)}
        positions = teacher[:, 0].numel() if mask is None else mask.sum().clamp(min=1)
        return {"loss_kd": error / (positions * self.teacher_channels)}

    def _generate(self, x: Tensor, mask: Tensor | None) -> Tensor:
        x = visible(x, mask)
        draws = torch.rand((len(x), 1, *x.shape[2:]), dtype=x.dtype, device=x.device)
        first, second = self.generation
        # Set padding to zero before each convolution, like the zeros beyond the border of a map.
        hidden = F.relu(first(x.masked_fill(draws > 1 - self.ratio, 0.0)))
        generated: Tensor = second(hidden if mask is None else hidden.masked_fill(mask == 0, 0.0))
        return generated
