"""The network that predicts the noise in a feature at step t."""

from torch import Tensor, nn

from .layers import BatchNorm2d, Bottleneck, NormFactory


class Denoiser(nn.Module):
    """Predict the noise in x at step t.

    Args:
        channels: C of the feature.
        num_train_timesteps: number of steps that have an embedding.
        logits: False for feature maps (two bottlenecks), True for class logits (a 1x1 network C-4C-C-4C-C).
        norm: channels -> normalisation module.
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

    def forward(self, x: Tensor, t: Tensor | int) -> Tensor:
        """Return the predicted noise.

        Args:
            x: (N, C, H, W).
            t: step per sample, (N,) of int64, or one step for all.
        """
        if isinstance(t, int):
            embedding = self.time_embedding.weight[t].view(1, -1, 1, 1)
        else:
            embedding = self.time_embedding(t)[:, :, None, None]
        return self.net(x + embedding.to(x.dtype))


def _feature_net(channels: int, norm: NormFactory) -> nn.Sequential:
    return nn.Sequential(
        Bottleneck(channels, reduction=4, norm=norm),
        Bottleneck(channels, reduction=4, norm=norm),
        nn.Conv2d(channels, channels, 1),
        norm(channels),
    )


def _logit_net(channels: int, norm: NormFactory) -> nn.Sequential:
    wide = 4 * channels
    return nn.Sequential(
        nn.Conv2d(channels, wide, 1),
        norm(wide),
        nn.ReLU(inplace=True),
        nn.Conv2d(wide, channels, 1),
        norm(channels),
        nn.Conv2d(channels, wide, 1),
        norm(wide),
        nn.ReLU(inplace=True),
        nn.Conv2d(wide, channels, 1),
    )
