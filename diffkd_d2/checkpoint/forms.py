"""The forms in which people keep weights: find the state dict in a file, and what to take off its names."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch

from ..errors import UserError

# Where programs keep weights, in the order in which they are looked for.
KEYS = (
    "model",
    "state_dict",
    "model_state_dict",
    "model_state",
    "net",
    "ema_state_dict",
    "state_dict_ema",
    "model_ema",
)
# Attributes by which programs hold the model whose weights we want (DDP, Lightning, torch.compile, DistilledModel,
# detectors whose backbone alone is wanted, MoCo).
WRAPPERS = ("module", "model", "student", "_orig_mod", "net", "network", "detector", "backbone", "encoder", "encoder_q")
_WRAPPED = re.compile(rf"(?:(?:{'|'.join(WRAPPERS)})\.)+")


def find_weights(data: dict[str, Any], filename: str) -> tuple[dict[str, Any], str]:
    """Return the checkpoint in Detectron2's form, with its weights under "model", and the key that they were under.

    Read are Detectron2's own `.pth` and `.pkl`, Caffe2's `.pkl` and pycls' `.pyth` (both matched by heuristics), bare
    state dicts, and state dicts under one of `KEYS`.

    Raises:
        UserError: if there are no weights at any of these places; the line names the keys of the file.
    """
    if filename.endswith(".pyth"):
        if not _is_state(data.get("model_state")):
            raise UserError(f"{filename} has no weights under 'model_state', as pycls' .pyth files do: {keys_of(data)}")
        weights = {k: v for k, v in data["model_state"].items() if not k.endswith("num_batches_tracked")}
        return {"model": weights, "__author__": "pycls", "matching_heuristics": True}, "model_state"
    if filename.endswith(".pkl") and not ("model" in data and "__author__" in data):
        # The Caffe2 files of Detectron (the ImageNet backbones): flat, or under "blobs".
        blobs = data.get("blobs", data)
        weights = {k: v for k, v in blobs.items() if not k.endswith("_momentum")}
        return {"model": weights, "__author__": "Caffe2", "matching_heuristics": True}, ""
    for key in KEYS:
        if _is_state(data.get(key)):
            return {**{k: v for k, v in data.items() if k != key}, "model": dict(data[key])}, key
    if _is_state(data):
        return {"model": dict(data)}, ""
    raise UserError(f"{filename} holds no weights that can be found: {keys_of(data)}")


def _is_state(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(k, str) for k in value) and any(map(_is_tensor, value.values()))


def _is_tensor(value: Any) -> bool:
    return isinstance(value, torch.Tensor | np.ndarray)


def wrappers_of(names: Iterable[str]) -> list[str]:
    """Return "" and the prefixes in names that stand for what wraps a model, such as "module." and "module.model."."""
    found = {""}
    for name in names:
        wrapped = _WRAPPED.match(name)
        parts = wrapped[0].split(".")[:-1] if wrapped else []
        found |= {".".join(parts[: i + 1]) + "." for i in range(len(parts))}
    return sorted(found, key=lambda prefix: (len(prefix), prefix))


def unwrap(weights: Mapping[str, Any], ours: Iterable[str]) -> tuple[str, dict[str, Any]]:
    """Take off the names what wraps the model in another program: `module.`, `model.`, `student.`, one or several.

    Args:
        weights: names -> tensors, of which those under the prefix are the model's and the rest is the wrapper's.
        ours: the names in the model.

    Returns:
        the prefix that makes most names fit ("" where no other makes more), and the weights under it.
    """
    known = set(ours)
    prefixes = wrappers_of(weights)
    best = max(prefixes, key=lambda p: sum(n.startswith(p) and n[len(p) :] in known for n in weights))
    return best, {n[len(best) :]: v for n, v in weights.items() if n.startswith(best)}


def split_query(path: str) -> tuple[str, bool]:
    """Split `?matching_heuristics=True` off an address; return the address and whether it was there.

    Raises:
        UserError: if it has another value than True or False.
    """
    address, query, value = path.partition("?matching_heuristics=")
    if query and value not in ("True", "False"):
        raise UserError(f"{path}: matching_heuristics is '{value}', expected True or False")
    return address, value == "True"


def keys_of(data: Mapping[Any, Any]) -> str:
    """Return the words for the first keys of a dict."""
    names = [str(key)[:60] for key in data]
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"its keys are {', '.join(names[:5])}{more}" if names else "it is empty"


# By which of its names a file is recognised -> what it is.
_KINDS = (
    (r"layer1\.0\.", "a bare ResNet with torchvision's names, "),
    (r"features\.0\.", "a bare network of torchvision, "),
    (r"conv_stem\.|stem\.0\.|patch_embed\.", "a bare network of timm, "),
    (r"backbone\.body\.", "a detector of torchvision, "),
    (r"(bbox_head|rpn_head|neck)\.", "a detector of mmdetection, whose layers are not Detectron2's, "),
)


def describe(data: Mapping[str, Any], weights: Mapping[str, Any], key: str) -> str:
    """Return words for what a file is, by its keys and names, and where in it the weights are."""
    kind = "a checkpoint of Lightning, " if "pytorch-lightning_version" in data else ""
    if not kind:
        wrappers = wrappers_of(weights)
        bare = {n.removeprefix(w) for n in weights for w in wrappers}
        kind = next((words for pattern, words in _KINDS if any(re.match(pattern, n) for n in bare)), "")
    return kind + (f"weights under '{key}', " if key not in ("", "model") else "")
