"""Random erasing for images in [0, 255]; timm's own expects normalised images."""

import torch
from timm.data.random_erasing import RandomErasing
from torch import Tensor

from .networks import IMAGENET_STATS


class RandomErase:
    """timm's random erasing (1708.04896) for an image in [0, 255], equal to erasing the normalised image.

    Args:
        probability: in [0, 1].
        mode: "const" fills with the mean colour, "rand" and "pixel" with normal noise per block or per pixel.
        max_count: largest number of rectangles.
    """

    def __init__(self, probability: float, mode: str = "pixel", max_count: int = 1):
        self.erase = RandomErasing(probability, mode=mode, max_count=max_count, device="cpu")
        self.mean, self.std = (torch.tensor(x)[:, None, None] for x in IMAGENET_STATS)

    def __call__(self, image: Tensor) -> Tensor:
        """Return an image (3, H, W), float32."""
        return self.erase((image.float() - self.mean) / self.std) * self.std + self.mean

    def __repr__(self) -> str:
        return repr(self.erase)
