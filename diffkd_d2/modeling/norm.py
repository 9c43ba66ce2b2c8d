"""Detectron2's normalisation layers by name, for the distillers."""

import math
from collections.abc import Callable

from detectron2.layers import get_norm
from torch import nn

from ..diffusion import BatchNorm2d


def norm_layer(name: str) -> Callable[[int], nn.Module]:
    """Return a function that builds a norm layer for a number of channels.

    Args:
        name: "BN" (`diffusion.BatchNorm2d`, which accepts one value per channel), "GN" (at most 32 groups, with at
            least 4 channels each), "" (no norm), or any name that Detectron2's `get_norm` knows, such as "SyncBN".
    """
    if name == "BN":
        return BatchNorm2d
    if name == "GN":
        return lambda channels: nn.GroupNorm(math.gcd(32, max(channels // 4, 1)), channels)
    return lambda channels: get_norm(name, channels) or nn.Identity()
