"""The linear autoencoder that compresses the teacher's feature."""

from torch import Tensor, nn

from .layers import BatchNorm2d, Conv1x1, NormFactory


class AutoEncoder(nn.Module):
    """1x1 convolution and norm down to the latent, 1x1 convolution back.

    Args:
        channels: Ct of the teacher's feature.
        latent_channels: C of the latent.
        norm: function that returns a norm layer for a number of channels. The norm gives the latent the unit scale that
            the diffusion needs.
    """

    def __init__(self, channels: int, latent_channels: int, norm: NormFactory = BatchNorm2d):
        super().__init__()
        self.encoder = nn.Sequential(Conv1x1(channels, latent_channels), norm(latent_channels))
        self.decoder = Conv1x1(latent_channels, channels)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the latent (N, C, H, W) and the reconstruction (N, Ct, H, W) of x (N, Ct, H, W)."""
        latent = self.encoder(x)
        return latent, self.decoder(latent)
