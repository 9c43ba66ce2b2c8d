"""FRS: Distilling Object Detectors with Feature Richness (NeurIPS 2021), its feature term."""

from torch import Tensor, nn

from .losses import visible
from .map_distiller import MapDistiller


class ScoreMimic(MapDistiller):
    """Squared distance to the teacher's map, weighted by the teacher's largest class probability at each position.

    Published weights: RetinaNet 0.005, FCOS 0.01, GFL 0.1, Faster R-CNN (scores of the RPN) 0.002, all with a
    warm-up of 500 iterations.

    Args:
        student_channels: Cs.
        teacher_channels: Ct.
        kernel_size: kernel size of the convolution that adapts the student's map; odd. Published: 3.
        mean_over_channels: divide by the number of channels, as YOLO packages do in distillation.

    Raises:
        ValueError: if an option is out of range.
    """

    needs = ("scores",)

    def __init__(
        self, student_channels: int, teacher_channels: int, kernel_size: int = 3, mean_over_channels: bool = False
    ):
        super().__init__(student_channels, teacher_channels)
        self.mean_over_channels = mean_over_channels
        self.align = nn.Conv2d(student_channels, teacher_channels, kernel_size, padding=kernel_size // 2)

    def forward(
        self, student: Tensor, teacher: Tensor, mask: Tensor | None = None, *, scores: Tensor
    ) -> dict[str, Tensor]:
        """Return `loss_kd`.

        Args:
            student, teacher, mask: as in `MapDistiller`.
            scores: (N, 1, H, W) in [0, 1], the teacher's largest class probability.
        """
        student, teacher = self.visible_pair(student, teacher, mask)
        scores = visible(scores, mask)
        error = visible(self.align(student), mask) - teacher
        loss = (error.square().sum(dim=1, keepdim=True) * scores).sum()
        channels = self.teacher_channels if self.mean_over_channels else 1
        return {"loss_kd": loss / (scores.sum() * channels + 1e-9)}
