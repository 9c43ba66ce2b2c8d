"""DiffKD: Knowledge Diffusion for Distillation (NeurIPS 2023, arXiv 2305.15712)."""

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ..diffusion import AutoEncoder, Denoiser, NoiseMatcher, NoiseSchedule, Standardize
from ..diffusion.batch_norm import BatchNorm2d, conv_norm
from ..diffusion.layers import Align, Conv1x1, NormFactory
from ..diffusion.maps import Implied, channels_last, lowered, normal_like
from ..diffusion.recompute import recompute
from .losses import check_channels, masked_kl, masked_mse
from .ranges import require_at_least, require_positive


class DiffKD(nn.Module):
    """Denoise the student's feature by a diffusion model trained on the teacher's, then compare the two.

    Args:
        student_channels: Cs.
        teacher_channels: Ct.
        latent_channels: C, width of the autoencoder's latent; None: no autoencoder, C = Ct.
        num_function_evals: denoiser evaluations in one sampling chain (the paper's NFE), at least 1.
        logits: False: feature maps, MSE. True: class logits (N, Ct) or (N, Ct, H, W), KL; no autoencoder.
        tau: temperature of the KL where `logits` is set.
        kd_trains_denoiser: whether `loss_kd` also trains the denoiser, as in the authors' code. If not,
            the gradient still flows through the denoiser into the student, but the denoiser learns from
            `loss_diffusion` alone.
        grad_steps: the gradient of `loss_kd` passes through the last so many denoiser evaluations only; through
            the earlier ones it takes the affine path of the DDIM step. None: through all.
        stride: take every `stride`-th position along both axes, from a random offset.
        recompute: keep no activations of the denoiser; the backward pass computes them again.
        kd_weight: factor on `loss_kd`.
        diffusion_weight: factor on `loss_diffusion`, which reaches the denoiser only.
        ae_weight: factor on `loss_ae`, which reaches the autoencoder only.
        norm: channels -> normalisation module.

    Raises:
        ValueError: if `logits` is combined with an autoencoder, or a number is out of range: channels and `stride` are
            1 at least, weights 0 at least, `tau` is positive.
    """

    def __init__(
        self,
        student_channels: int,
        teacher_channels: int,
        latent_channels: int | None = None,
        num_function_evals: int = 5,
        logits: bool = False,
        tau: float = 1.0,
        kd_trains_denoiser: bool = True,
        grad_steps: int | None = None,
        stride: int = 1,
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
        self.logits, self.tau, self.kd_trains_denoiser = logits, tau, kd_trains_denoiser
        self.kd_weight, self.diffusion_weight, self.ae_weight = kd_weight, diffusion_weight, ae_weight
        self.grad_steps = num_function_evals if grad_steps is None else grad_steps
        if not 0 <= self.grad_steps <= num_function_evals or stride < 1:
            raise ValueError(f"grad_steps is {grad_steps}, expected 0 to {num_function_evals}; stride is {stride}")
        self.stride, self.recompute = stride, recompute
        channels = latent_channels or teacher_channels
        self.standardize = None if logits else Standardize(teacher_channels)
        self.autoencoder = AutoEncoder(teacher_channels, latent_channels, norm) if latent_channels else None
        self.align = Align(student_channels, channels)
        self.schedule = NoiseSchedule()
        self.timesteps = self.schedule.sampling_timesteps(num_function_evals)
        self.denoiser = Denoiser(channels, self.schedule.num_train_timesteps, logits, norm)
        self.noise_matcher = NoiseMatcher(channels, logits, norm)
        self.proj = nn.Sequential(Conv1x1(channels, channels), norm(channels))

    def forward(self, student: Tensor, teacher: Tensor, mask: Tensor | None = None) -> dict[str, Tensor]:
        """Return `loss_kd`, `loss_diffusion`, with an autoencoder `loss_ae`, and the metric `gamma` (mean).

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
        if self.stride > 1:
            student, teacher, mask = self._subsample(student, teacher, mask)
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
        """Return the latent z (N, C, H, W), detached, and `{"loss_ae"}` where there is an autoencoder."""
        target = teacher if self.standardize is None else self.standardize(teacher, mask)
        if self.autoencoder is None:
            return target.detach(), {}
        latent, reconstruction = self.autoencoder(target)
        return latent.detach(), {"loss_ae": self.ae_weight * masked_mse(reconstruction, target, mask)}

    def refine(self, student: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Match the noise, run the DDIM chain, project. The gradient flows through every step.

        Args:
            student: (N, Cs, H, W).
            noise: standard normal (N, C, H, W); drawn anew if None.

        Returns:
            the refined feature (N, C, H, W) and gamma (N,), both float32 up to the last projection.
        """
        feature = self.align(student)
        noise = normal_like(feature) if noise is None else noise
        x, gamma = self.noise_matcher(feature, noise)
        # The sample is scale * x. A step a * sample + b * noise adds noise to x and changes the scale.
        scale = 1.0
        for i, (t, t_prev) in enumerate(zip(self.timesteps, [*self.timesteps[1:], -1], strict=True)):
            early = len(self.timesteps) - i > self.grad_steps
            a, b = self.schedule.ddim_coefficients(t, t_prev)
            known, trained = x.detach() if early else x, self.kd_trains_denoiser and not early
            x = self._denoise(known, t, scale, b / (a * scale), trained).add_(x)
            scale = a * scale
        return conv_norm(*self.proj, Implied(x, scale)), gamma

    def diffusion_loss(
        self, latent: Tensor, t: Tensor | None = None, noise: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """MSE between the noise put into the latent and the noise predicted (epsilon prediction).

        Args:
            latent: z (N, C, H, W), without gradient.
            t: steps (N,), uniform in [0, T) if None.
            noise: standard normal, the shape of z; drawn anew if None.
            mask: as in `forward`.
        """
        latent = latent.float()
        noise = normal_like(latent) if noise is None else noise
        if t is None:
            t = torch.randint(self.schedule.num_train_timesteps, latent.shape[:1], device=latent.device)
        predicted = self._denoise(self.schedule.add_noise(latent, noise, t), t)
        # Batch norm takes the step of a single image out; DDP still waits for the gradient of its embedding.
        return masked_mse(predicted, noise, mask) + 0 * self.denoiser.time_embedding(t).sum()

    def _denoise(
        self, x: Tensor, t: Tensor | int, scale: float = 1.0, gain: float = 1.0, trained: bool = True
    ) -> Tensor:
        """Call the denoiser, with or without a gradient to its parameters, and with or without recomputation."""
        # Not no_grad: autocast would then keep casts of the weights that carry no gradient.
        frozen = None if trained else {name: p.detach() for name, p in self.denoiser.named_parameters()}

        def denoise(x: Tensor) -> Tensor:
            arguments = (x, t, scale, gain)
            predicted = self.denoiser(*arguments) if trained else functional_call(self.denoiser, frozen, arguments)
            return predicted.float()

        x = lowered(x)
        # One value per channel is normalised by running statistics, which another call may have moved since.
        if self.recompute and x.numel() > x.shape[1]:
            return recompute(self.denoiser, denoise, x)
        return denoise(x)

    @torch.compiler.disable  # the offsets are no part of a graph
    def _subsample(self, *maps: Tensor | None) -> list[Tensor | None]:
        # Drawn on the CPU: the offsets are needed here, and the device shall not be waited for.
        y, x = (int(torch.randint(min(self.stride, n), ())) for n in maps[0].shape[2:])
        return [None if m is None else m[:, :, y :: self.stride, x :: self.stride].clone() for m in maps]
