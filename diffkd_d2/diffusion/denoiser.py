"""The network that predicts the noise in a feature at step t."""

from torch import Tensor, nn

from .layers import BatchNorm2d, Bottleneck, Conv1x1, NormFactory


class Denoiser(nn.Module):
    """Predict the noise in x at step t.

    Args:
        channels: C of the feature.
        num_train_timesteps: number of steps that have an embedding.
        logits: False for feature maps (two bottlenecks), True for class logits (a 1x1 network C-4C-C-4C-C).
        norm: function that returns a norm layer for a number of channels.
    """

    def __init__(
        self,
        channels: int,
        num_train_timesteps: int = 1000,
        logits: bool = False,
        norm: NormFactory = BatchNorm2d,
    ):
        super().__init__()
        self.time_embedding = nn.Embedding(num_train_timesteps, channels)
        self.net = _logit_net(channels, norm) if logits else _feature_net(channels, norm)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Return the predicted noise, (N, C, H, W).

        Args:
            x: noisy feature, (N, C, H, W).
            t: steps of int64: (N,), or (1,) if all samples are at the same step.
        """
        return self.net(x + self.time_embedding(t)[:, :, None, None])


def _feature_net(channels: int, norm: NormFactory) -> nn.Sequential:
    return nn.Sequential(
        Bottleneck(channels, reduction=4, norm=norm),
        Bottleneck(channels, reduction=4, norm=norm),
        Conv1x1(channels, channels),
        norm(channels),
    )


def _logit_net(channels: int, norm: NormFactory) -> nn.Sequential:
    wide = 4 * channels
    return nn.Sequential(
        Conv1x1(channels, wide),
        norm(wide),
        nn.ReLU(inplace=True),
        Conv1x1(wide, channels),
        norm(channels),
        Conv1x1(channels, wide),
        norm(wide),
        nn.ReLU(inplace=True),
        Conv1x1(wide, channels),
    )
