"""DiffKD: Knowledge Diffusion for Distillation (NeurIPS 2023, arXiv 2305.15712)."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from ..diffusion import (
    AutoEncoder,
    BatchNorm2d,
    Conv1x1,
    Denoiser,
    NoiseMatcher,
    NoiseSchedule,
    NormFactory,
    Standardize,
    channels_last,
    full_precision,
    normal_like,
)
from ..diffusion.recompute import recompute
from .losses import check_channels, masked_kl, masked_mse
from .ranges import require_at_least, require_positive


class DiffKD(nn.Module):
    """Denoise the student's feature with a diffusion model trained on the teacher's, then compare the two.

    A step on P3 to P7 of one 800x1344 image keeps 1.31 times the activations of RetinaNet's own step with
    `latent_channels=64`, and 2.09 times without an autoencoder (docs/methods.md). `recompute` reduces that.

    Args:
        student_channels: Cs.
        teacher_channels: Ct.
        latent_channels: C, width of the autoencoder's latent. If None, there is no autoencoder and C = Ct.
        num_function_evals: denoiser evaluations in one sampling chain (the paper's NFE), 1 to 500.
        logits: if False, compare feature maps by MSE; if True, class logits (N, Ct) or (N, Ct, H, W) by KL, without
            autoencoder.
        tau: temperature of the KL, if `logits` is True.
        recompute: do not store the denoiser's activations; compute them again in the backward pass.
        kd_weight: factor on `loss_kd`.
        diffusion_weight: factor on `loss_diffusion`, which trains the denoiser only.
        ae_weight: factor on `loss_ae`, which trains the autoencoder only.
        norm: function that returns a norm layer for a number of channels.

    Raises:
        ValueError: if `logits` is combined with an autoencoder, or a number is out of range: channels are at least 1,
            weights at least 0, `tau` is positive.
    """

    def __init__(
        self,
        student_channels: int,
        teacher_channels: int,
        latent_channels: int | None = None,
        num_function_evals: int = 5,
        logits: bool = False,
        tau: float = 1.0,
        recompute: bool = False,
        kd_weight: float = 1.0,
        diffusion_weight: float = 1.0,
        ae_weight: float = 1.0,
        norm: NormFactory = BatchNorm2d,
    ):
        super().__init__()
        require_at_least(
            1, student_channels=student_channels, teacher_channels=teacher_channels, latent_channels=latent_channels
        )
        require_at_least(0, kd_weight=kd_weight, diffusion_weight=diffusion_weight, ae_weight=ae_weight)
        require_positive(tau=tau)
        if logits and latent_channels is not None:
            raise ValueError("class logits are distilled without an autoencoder: latent_channels must be None")
        self.student_channels, self.teacher_channels = student_channels, teacher_channels
        self.logits, self.tau, self.recompute = logits, tau, recompute
        self.kd_weight, self.diffusion_weight, self.ae_weight = kd_weight, diffusion_weight, ae_weight
        channels = latent_channels or teacher_channels
        self.standardize = None if logits else Standardize(teacher_channels)
        self.autoencoder = AutoEncoder(teacher_channels, latent_channels, norm) if latent_channels else None
        self.align = Conv1x1(student_channels, channels)
        self.schedule = NoiseSchedule()
        self.timesteps = self.schedule.sampling_timesteps(num_function_evals)
        self.denoiser = Denoiser(channels, self.schedule.num_train_timesteps, logits, norm)
        self.noise_matcher = NoiseMatcher(channels, logits, norm)
        self.proj = nn.Sequential(Conv1x1(channels, channels), norm(channels))

    def forward(self, student: Tensor, teacher: Tensor, mask: Tensor | None = None) -> dict[str, Tensor]:
        """Return `loss_kd`, `loss_diffusion`, `loss_ae` if there is an autoencoder, and the metric `gamma` (mean).

        Args:
            student: (N, Cs, H, W), or (N, Cs) logits.
            teacher: (N, Ct, H, W), or (N, Ct) logits; carries no gradient.
            mask: (N, 1, H, W), 1 where a position counts, 0 where it is padding.

        Raises:
            ValueError: if a feature has another number of channels than the distiller was built for.
        """
        check_channels("student", student, self.student_channels)
        check_channels("teacher", teacher, self.teacher_channels)
        if student.dim() == 2:
            student, teacher = student[:, :, None, None], teacher[:, :, None, None]
        latent, losses = self.encode(channels_last(teacher), mask)
        refined, gamma = self.refine(student)
        if self.logits:
            distance = masked_kl(refined, latent, self.tau, mask)
        else:
            distance = masked_mse(refined, latent, mask)
        losses["loss_kd"] = self.kd_weight * distance
        losses["loss_diffusion"] = self.diffusion_weight * self.diffusion_loss(latent, mask=mask)
        losses["gamma"] = gamma.detach().mean()
        return losses

    def encode(self, teacher: Tensor, mask: Tensor | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the latent z (N, C, H, W), detached, and a dict with `loss_ae` if there is an autoencoder."""
        target = teacher if self.standardize is None else self.standardize(teacher, mask)
        if self.autoencoder is None:
            return target.detach(), {}
        latent, reconstruction = self.autoencoder(target)
        return latent.detach(), {"loss_ae": self.ae_weight * masked_mse(reconstruction, target, mask)}

    def refine(self, student: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Align, match the noise, denoise with the DDIM chain, project. The gradient flows through every step.

        Args:
            student: (N, Cs, H, W).
            noise: standard normal (N, C, H, W). If None, it is drawn.

        Returns:
            the refined feature (N, C, H, W) and gamma (N,).
        """
        feature = self.align(student)
        x, gamma = self.noise_matcher(feature, normal_like(feature) if noise is None else noise)
        for t, t_prev in pairwise([*self.timesteps, -1]):
            predicted = self._denoise(x, torch.full((1,), t, device=x.device))
            x = self.schedule.ddim_step(x, predicted, t, t_prev)
        return self.proj(x), gamma

    def diffusion_loss(
        self, latent: Tensor, t: Tensor | None = None, noise: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """Return the MSE between the noise added to the latent and the predicted noise (epsilon prediction).

        Args:
            latent: z (N, C, H, W), without gradient.
            t: steps (N,) of int64. If None, they are drawn uniformly from [0, T).
            noise: standard normal, the shape of z. If None, it is drawn.
            mask: as in `forward`.
        """
        noise = normal_like(latent) if noise is None else noise
        if t is None:
            t = torch.randint(self.schedule.num_train_timesteps, latent.shape[:1], device=latent.device)
        return masked_mse(self._denoise(self.schedule.add_noise(latent, noise, t), t), noise, mask)

    def _denoise(self, x: Tensor, t: Tensor) -> Tensor:
        """Return the predicted noise in float32, with or without recomputation."""
        # With one value per channel, a batch norm uses its running statistics, which may change before recomputation.
        if self.recompute and x.numel() > x.shape[1]:
            return full_precision(recompute(self.denoiser, x, t))
        return full_precision(self.denoiser(x, t))
