"""Load the weights of a bare backbone of torchvision or timm into a part of a model."""

import itertools
import re
from collections.abc import Callable, Mapping
from typing import Any

from ..errors import UserError, nearest
from .forms import wrappers_of

# (stage, index of its first block in `features`) of torchvision's MobileNetV2.
_MOBILENET_V2_STAGES = ((6, 17), (5, 14), (4, 11), (3, 7), (2, 4), (1, 2), (0, 1))
_SEPARABLE = {"0.0": "conv_dw", "0.1": "bn1", "1": "conv_pw", "2": "bn2"}
_INVERTED = {"0.0": "conv_pw", "0.1": "bn1", "1.0": "conv_dw", "1.1": "bn2", "2": "conv_pwl", "3": "bn3"}


def resnet_name(name: str) -> str:
    """Return Detectron2's name for a tensor of torchvision's or timm's ResNet; other names are returned unchanged."""
    name = re.sub(r"^layer(\d)\.", lambda m: f"res{int(m[1]) + 1}.", name)
    name = re.sub(r"\.downsample\.0\.", ".shortcut.", name)
    name = re.sub(r"\.downsample\.1\.", ".shortcut.norm.", name)
    name = re.sub(r"(^|\.)bn(\d)\.", r"\1conv\2.norm.", name)
    return re.sub(r"^conv1\.", "stem.conv1.", name)


def mobilenet_v2_name(name: str) -> str:
    """Return timm's name for a tensor of torchvision's MobileNetV2; other names are returned unchanged."""
    for ours, theirs in (("features.0.0.", "conv_stem."), ("features.0.1.", "bn1."), ("classifier.1.", "classifier.")):
        if name.startswith(ours):
            return theirs + name[len(ours) :]
    found = re.match(r"features\.(\d+)\.conv\.(\d(?:\.\d)?)\.(\w+)$", name)
    if not found:
        return name.replace("features.18.0.", "conv_head.").replace("features.18.1.", "bn2.")
    stage, first = next(x for x in _MOBILENET_V2_STAGES if int(found[1]) >= x[1])
    layer = (_INVERTED if stage else _SEPARABLE).get(found[2], found[2])
    return f"blocks.{stage}.{int(found[1]) - first}.{layer}.{found[3]}"


RULES: dict[str, Callable[[str], str]] = {
    "the names of the model": lambda name: name,
    "the names of torchvision's ResNet": resnet_name,
    "the names of torchvision's MobileNetV2": mobilenet_v2_name,
}


def place(weights: Mapping[str, Any], model: Mapping[str, Any], prefix: str) -> tuple[dict[str, Any], str]:
    """Rename the weights of a bare network to the names under `prefix` in a model.

    Args:
        weights: names -> tensors of the file; wrapper prefixes (`module.`, `backbone.`) are removed.
        model: names -> tensors of the model.
        prefix: place of the network in the model, such as "backbone.bottom_up".

    Returns:
        the weights that fit under the model's names, and the key in `RULES` of the rule that fitted most.

    Raises:
        UserError: if the model has nothing under `prefix`.
    """
    inside = prefix.rstrip(".") + "."
    if not any(name.startswith(inside) for name in model):
        parents = {name.rpartition(".")[0] for name in model}
        raise UserError(f"train.init_prefix: the model has no '{prefix}'{nearest(prefix, sorted(parents))}")
    best: dict[str, Any] = {}
    words = next(iter(RULES))
    for part in (inside, inside + "model."):  # TimmBackbone holds timm's network as `model`
        # timm renames stages.0 to stages_0 in networks that return feature maps.
        ours = {n[len(part) :].replace("_", "."): n for n in model if n.startswith(part)}
        for wrapper, rule in itertools.product(wrappers_of(weights), RULES):
            inner = {n.removeprefix(wrapper): v for n, v in weights.items() if n.startswith(wrapper)}
            named = {ours.get(RULES[rule](n).replace("_", ".")): v for n, v in inner.items()}
            fits = {n: v for n, v in named.items() if n is not None and tuple(v.shape) == tuple(model[n].shape)}
            if len(fits) > len(best):
                best, words = fits, rule
    return best, words
