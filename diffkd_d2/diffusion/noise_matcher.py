"""Adaptive noise matching: predict how much noise to add to the student's feature."""

from torch import Tensor, nn

from .layers import BatchNorm2d, Bottleneck, Conv1x1, NormFactory, full_precision


class NoiseMatcher(nn.Module):
    """Predict gamma per sample and blend the feature with noise: gamma x + (1 - gamma) noise.

    gamma = 1 adds no noise. The paper's text and its authors' answers differ here; this follows their code.

    Args:
        channels: C of the feature.
        logits: False for feature maps (one bottleneck), True for class logits (a 1x1 network C-2C-C).
        norm: function that returns a norm layer for a number of channels.
    """

    def __init__(self, channels: int, logits: bool = False, norm: NormFactory = BatchNorm2d):
        super().__init__()
        self.net = _logit_net(channels, norm) if logits else Bottleneck(channels, reduction=8, norm=norm)
        self.pred = nn.Linear(channels, 2)

    def gamma(self, x: Tensor) -> Tensor:
        """Return gamma in (0, 1), float32 of shape (N,), for x of shape (N, C, H, W)."""
        pooled = self.net(x).mean(dim=(2, 3))
        return full_precision(self.pred(pooled)).softmax(dim=1)[:, 0]

    def forward(self, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Return the blend in float32, (N, C, H, W), and gamma, (N,).

        Args:
            x: feature, (N, C, H, W).
            noise: standard normal, the shape of x.
        """
        gamma = self.gamma(x)
        weight = gamma[:, None, None, None]
        return weight * x + (1 - weight) * noise, gamma


def _logit_net(channels: int, norm: NormFactory) -> nn.Sequential:
    return nn.Sequential(
        Conv1x1(channels, 2 * channels),
        norm(2 * channels),
        nn.ReLU(inplace=True),
        Conv1x1(2 * channels, channels),
        norm(channels),
    )
