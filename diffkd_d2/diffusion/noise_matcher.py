"""Adaptive noise matching: how much noise a student's feature lacks."""

import torch
from torch import Tensor, nn

from .batch_norm import BatchNorm2d
from .layers import Bottleneck, Conv1x1, NormFactory
from .maps import Implied, mean_over_positions


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
                norm(2 * channels),
                nn.ReLU(inplace=True),
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
        weight = gamma[:, None, None, None]
        return torch.lerp(noise.float(), x.float(), weight), gamma
