"""Adaptive noise matching: how much noise a student's feature lacks."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from .batch_norm import BatchNorm2d
from .layers import Bottleneck, Conv1x1, NormFactory, norm_relu
from .maps import Implied, mean_over_positions


class Blend(torch.autograd.Function):
    """gamma x + (1 - gamma) noise, for gamma (N,) and x and noise (N, C, H, W) in channels_last.

    The gradient of gamma is two scalar products, with one map at a time; autograd would hold three.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, noise: Tensor, gamma: Tensor) -> Tensor:
        ctx.save_for_backward(x, noise, gamma)
        return torch.lerp(noise, x, gamma[:, None, None, None])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, noise, gamma = ctx.saved_tensors
        flat = [m.permute(0, 2, 3, 1).flatten(1) for m in (grad, x, noise)]
        with torch.autocast(grad.device.type, enabled=False):
            d_gamma = torch.linalg.vecdot(flat[0], flat[1]) - torch.linalg.vecdot(flat[0], flat[2])
        return grad * gamma[:, None, None, None], None, d_gamma


class NoiseMatcher(nn.Module):
    """Predict gamma per sample and blend the feature with noise: gamma x + (1 - gamma) noise.

    gamma = 1 adds no noise. (The paper's text and its authors' answers differ here; their code does this.)

    Args:
        channels: C of the feature.
        logits: False for feature maps (one bottleneck), True for class logits (a 1x1 network C-2C-C).
        norm: channels -> normalisation module.
    """

    def __init__(self, channels: int, logits: bool = False, norm: NormFactory = BatchNorm2d):
        super().__init__()
        self.logits = logits
        self.net = (
            nn.Sequential(
                Conv1x1(channels, 2 * channels),
                *norm_relu(norm, 2 * channels),
                Conv1x1(2 * channels, channels),
                norm(channels),
            )
            if logits
            else Bottleneck(channels, reduction=8, norm=norm)
        )
        self.pred = nn.Linear(channels, 2)

    def gamma(self, x: Tensor) -> Tensor:
        """Return gamma in (0, 1), float32 of shape (N,), for x of shape (N, C, H, W)."""
        pooled = mean_over_positions(self.net(x)) if self.logits else self.net(Implied(x)).mean()
        return self.pred(pooled).float().softmax(dim=1)[:, 0]

    def forward(self, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Return the blend in float32, (N, C, H, W), and gamma, (N,)."""
        gamma = self.gamma(x)
        return Blend.apply(x.float(), noise.float(), gamma), gamma
