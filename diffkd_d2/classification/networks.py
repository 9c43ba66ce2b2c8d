"""Classification networks by name."""

from collections.abc import Callable
from typing import Any

import timm
import torchvision
from torch import nn

from ..errors import UserError, nearest
from .cifar_networks import CIFAR_NETWORKS

IMAGENET_STATS = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))


def build_network(name: str, num_classes: int | None = None, **options: Any) -> nn.Module:
    """Build a network with random weights.

    Args:
        name: "torchvision/resnet34", "timm/swin_large_patch4_window7_224", or a network for images of 32 px in
            `CIFAR_NETWORKS`, such as "cifar/wrn_40_2".
        num_classes: number of classes. If None, the network's default.
        options: further arguments of the network's constructor.

    Raises:
        UserError: if the library or network does not exist, or the network does not take an option.
    """
    library, _, rest = name.partition("/")
    libraries: dict[str, tuple[Callable[..., nn.Module], Callable[[], list[str]]]] = {
        "torchvision": (torchvision.models.get_model, torchvision.models.list_models),
        "timm": (timm.create_model, timm.list_models),
        "cifar": (lambda net, **kwargs: CIFAR_NETWORKS[net](**kwargs), lambda: list(CIFAR_NETWORKS)),
    }
    if library not in libraries or not rest:
        raise UserError(f"network '{name}': expected torchvision/<name>, timm/<name> or cifar/<name>")
    build, known = libraries[library]
    if rest.split(".")[0] not in known():
        raise UserError(f"{library} has no network '{rest}'{nearest(rest, known())}")
    if num_classes is not None:
        options["num_classes"] = num_classes
    try:
        return build(rest, **options)
    except TypeError as error:
        raise UserError(f"{name} with {options}: {error}") from error


def pixel_stats(network: nn.Module) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return a network's own mean and standard deviation (RGB in [0, 255]), or ImageNet's if it has none."""
    own = getattr(network, "pretrained_cfg", None) or {}
    if "mean" not in own:
        return IMAGENET_STATS
    return tuple(255 * x for x in own["mean"]), tuple(255 * x for x in own["std"])
