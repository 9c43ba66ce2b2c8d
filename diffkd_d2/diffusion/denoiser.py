"""The network that predicts the noise in a feature at step t."""

from torch import Tensor, nn

from .batch_norm import BatchNorm2d, conv_norm, folds
from .layers import Bottleneck, Conv1x1, NormFactory, norm_relu
from .maps import Implied


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
        self.logits = logits
        self.time_embedding = nn.Embedding(num_train_timesteps, channels)
        self.net = _logit_net(channels, norm) if logits else _feature_net(channels, norm)

    def forward(self, x: Tensor, t: Tensor | int, scale: float = 1.0, gain: float = 1.0) -> Tensor:
        """Return `gain` times the noise predicted in `scale` times x.

        The factors go into small weights. With them a sampling chain needs no pass over its maps for its coefficients.

        Args:
            x: (N, C, H, W).
            t: step per sample, (N,) of int64, or one step for all.
            scale: factor of the input.
            gain: factor of the output.
        """
        # A step for all is a shift for all, which a batch norm subtracts again.
        noisy = Implied(x, scale, self.time_embedding.weight[t][None] if isinstance(t, int) else self.time_embedding(t))
        if self.logits:
            return gain * self.net(noisy)
        first, second, conv, norm = self.net
        if all(folds(bottleneck.block[-1], x) for bottleneck in (first, second)):
            noisy = noisy.read_by(first.block[0], second.block[0], conv)
        return conv_norm(conv, norm, second(first(noisy)), gain)


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
        *norm_relu(norm, wide),
        Conv1x1(wide, channels),
        norm(channels),
        Conv1x1(channels, wide),
        *norm_relu(norm, wide),
        Conv1x1(wide, channels),
    )
