"""Variants of DiffKD, Mimic and ScoreMimic that were measured in bccd_diffkd.md; not part of the package."""

import math
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from diffkd_d2.diffusion import NoiseMatcher, Standardize, full_precision
from diffkd_d2.distillers import DiffKD, Mimic, ScoreMimic
from diffkd_d2.distillers.losses import masked_mse, ones_or


class VariantDiffKD(DiffKD):
    """DiffKD whose gamma is capped, or whose chain starts at a step that is measured.

    A latent z at step t of the schedule, divided by sqrt(abar), is z plus noise of variance (1 - abar) / abar. The
    aligned student is z plus an error, whose mean square is measured on the batch; its step has the same variance.

    Args:
        student_channels: as in DiffKD.
        teacher_channels: as in DiffKD.
        max_gamma: factor on gamma; at 0.9, a tenth or more of the denoiser's input is noise.
        start_by_distance: add no noise, and start the chain at the step of equal variance.
        options: as in DiffKD.
    """

    def __init__(
        self,
        student_channels: int,
        teacher_channels: int,
        max_gamma: float = 1.0,
        start_by_distance: bool = False,
        **options: Any,
    ):
        super().__init__(student_channels, teacher_channels, **options)
        self.start_by_distance = start_by_distance
        self.noise_matcher = nn.Identity() if start_by_distance else CappedNoiseMatcher(teacher_channels, max_gamma)

    def encode(self, teacher: Tensor, mask: Tensor | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the latent, and keep it for `refine`."""
        self._latent, losses = super().encode(teacher, mask)
        return self._latent, losses

    def refine(self, student: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the refined feature, and gamma or the start's sqrt(abar)."""
        if not self.start_by_distance:
            return super().refine(student, noise)
        feature = self.align(student)
        distance = (feature.detach() - self._latent).square().mean()
        abar = self.schedule.alphas_cumprod
        start = int(((1 - abar) / abar < distance).sum().clamp(max=len(abar) - 1))
        scale = math.sqrt(abar[start].item())
        x, count = scale * feature, len(self.timesteps)
        for t, t_prev in pairwise([*(start * i // count for i in range(count, 0, -1)), -1]):
            x = self.schedule.ddim_step(x, self._denoise(x, torch.full((1,), t, device=x.device)), t, t_prev)
        return self.proj(x), torch.full((len(x),), scale, device=x.device)


class CappedNoiseMatcher(NoiseMatcher):
    """The matcher with gamma multiplied by a factor."""

    def __init__(self, channels: int, max_gamma: float):
        super().__init__(channels)
        self.max_gamma = max_gamma

    def gamma(self, x: Tensor) -> Tensor:
        """Return gamma in (0, max_gamma), (N,)."""
        return self.max_gamma * super().gamma(x)


class ScoredDiffKD(DiffKD):
    """DiffKD whose `loss_kd` is weighted by the teacher's class scores, as ScoreMimic's is; for feature maps."""

    needs = ("scores",)

    def forward(  # type: ignore[override]  # takes the scores too
        self, student: Tensor, teacher: Tensor, mask: Tensor | None = None, *, scores: Tensor
    ) -> dict[str, Tensor]:
        """Return what DiffKD returns.

        Args:
            student, teacher, mask: as in DiffKD.
            scores: (N, 1, H, W) in [0, 1], the teacher's largest class probability.
        """
        latent, losses = self.encode(teacher, mask)
        refined, gamma = self.refine(student)
        losses["loss_kd"] = self.kd_weight * masked_mse(refined, latent, scores * ones_or(mask, scores))
        losses["loss_diffusion"] = self.diffusion_weight * self.diffusion_loss(latent, mask=mask)
        losses["gamma"] = gamma.detach().mean()
        return losses


class OneScale(Standardize):
    """Divide by one standard deviation for all channels, so that strong channels stay strong."""

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return x (N, C, H, W) with a mean variance of 1, in float32."""
        super().forward(x, mask)
        return (full_precision(x) - self.mean[:, None, None]) / (self.var.mean() + self.eps).sqrt()


class OneScaleDiffKD(DiffKD):
    """DiffKD of features that are divided by one number; for feature maps."""

    def __init__(self, student_channels: int, teacher_channels: int, **options: Any):
        super().__init__(student_channels, teacher_channels, **options)
        self.standardize = OneScale(teacher_channels)


class OneScaleMimic(Mimic):
    """Mimic of features that are divided by one number."""

    def __init__(self, student_channels: int, teacher_channels: int):
        super().__init__(student_channels, teacher_channels)
        self.standardize = OneScale(teacher_channels)


class OneScaleScoredDiffKD(ScoredDiffKD, OneScaleDiffKD):
    """Both."""


class Unweighted(ScoreMimic):
    """ScoreMimic whose scores are all 1."""

    def forward(
        self, student: Tensor, teacher: Tensor, mask: Tensor | None = None, *, scores: Tensor
    ) -> dict[str, Tensor]:
        """Return `loss_kd`, as ScoreMimic does."""
        return super().forward(student, teacher, mask, scores=torch.ones_like(scores))


class WideDiffKD(DiffKD):
    """DiffKD whose student is aligned by a 3x3 convolution, as in ScoreMimic."""

    def __init__(self, student_channels: int, teacher_channels: int, **options: Any):
        super().__init__(student_channels, teacher_channels, **options)
        self.align = nn.Conv2d(student_channels, teacher_channels, 3, padding=1)


class WideMimic(Mimic):
    """Mimic whose student is aligned by a 3x3 convolution."""

    def __init__(self, student_channels: int, teacher_channels: int):
        super().__init__(student_channels, teacher_channels)
        self.align = nn.Conv2d(student_channels, teacher_channels, 3, padding=1)
