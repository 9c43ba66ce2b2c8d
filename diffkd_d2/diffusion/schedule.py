"""The noise schedule of DDPM (arXiv 2006.11239) and the deterministic DDIM step (arXiv 2010.02502)."""

import math

import torch
from torch import Tensor, nn


class NoiseSchedule(nn.Module):
    """Linear betas and the alphas derived from them; the network predicts the noise (epsilon).

    Args:
        num_train_timesteps: length T of the training chain.
        beta_start: variance of the noise added at step 0, in (0, 1).
        beta_end: the same at step T - 1.
    """

    alphas_cumprod: Tensor

    def __init__(self, num_train_timesteps: int = 1000, beta_start: float = 1e-4, beta_end: float = 0.02):
        super().__init__()
        self.num_train_timesteps = num_train_timesteps
        betas = torch.linspace(beta_start, beta_end, num_train_timesteps, dtype=torch.float64)
        alphas_cumprod = torch.cumprod(1 - betas, dim=0)
        # A list, so that sampling reads its coefficients without synchronising with the device.
        self._alpha_bar = alphas_cumprod.tolist()
        self.register_buffer("alphas_cumprod", alphas_cumprod.float(), persistent=False)

    def add_noise(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """Jump to step t of the forward process of DDPM: sqrt(abar) x0 + sqrt(1 - abar) noise.

        Args:
            x0: clean sample, (N, ...).
            noise: standard normal, the shape of `x0`.
            t: step per sample, (N,) of int64 in [0, T).
        """
        alpha_bar = self.alphas_cumprod[t].view(-1, *[1] * (x0.dim() - 1))
        return alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * noise

    def sampling_timesteps(self, num_steps: int) -> list[int]:
        """Return the timesteps of sampling, descending: the lower half of a chain of 2 `num_steps` equal intervals.

        With T = 1000 and 5 steps they are 400, 300, 200, 100, 0, as in the authors' released code.

        Raises:
            ValueError: if `num_steps` is not in [1, T / 2].
        """
        if not 1 <= num_steps <= self.num_train_timesteps // 2:
            raise ValueError(f"num_steps is {num_steps}, expected 1 to {self.num_train_timesteps // 2}")
        stride = self.num_train_timesteps // (2 * num_steps)
        return [i * stride for i in reversed(range(num_steps))]

    def ddim_step(self, x: Tensor, noise: Tensor, t: int, t_prev: int) -> Tensor:
        """Go from step t down to t_prev with eta = 0 (DDIM eq. 12).

        Args:
            x: sample at step t.
            noise: the network's prediction for it, of the same shape.
            t: current step.
            t_prev: next step, below t; -1 means the clean sample (abar = 1).
        """
        alpha_bar = self._alpha_bar[t]
        alpha_bar_prev = self._alpha_bar[t_prev] if t_prev >= 0 else 1.0
        x0 = (x - math.sqrt(1 - alpha_bar) * noise) / math.sqrt(alpha_bar)
        return math.sqrt(alpha_bar_prev) * x0 + math.sqrt(1 - alpha_bar_prev) * noise
