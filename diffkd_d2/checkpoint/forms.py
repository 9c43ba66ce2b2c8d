"""Find the state dict in the file formats that people use, and remove wrapper prefixes from its names."""

import re
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from copy import copy
from typing import Any

import numpy as np
import torch

from ..errors import UserError

# Keys under which programs store weights, in search order.
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
# Attributes that hold the wanted model inside a wrapper (DDP, Lightning, torch.compile, DistilledModel, MoCo,
# a detector around a backbone).
WRAPPERS = ("module", "model", "student", "_orig_mod", "net", "network", "detector", "backbone", "encoder", "encoder_q")
_WRAPPED = re.compile(rf"(?:(?:{'|'.join(WRAPPERS)})\.)+")


def find_weights(data: dict[str, Any], filename: str) -> tuple[dict[str, Any], str]:
    """Return the checkpoint in Detectron2's format, with its weights under "model", and the key they came from.

    Supported are Detectron2's own files, Caffe2's `.pkl` and pycls' `.pyth` (both matched by heuristics), bare state
    dicts, and state dicts under one of `KEYS`.

    Raises:
        UserError: if no weights are found; the line names the keys of the file.
    """
    if filename.endswith(".pyth"):
        if not _is_state(data.get("model_state")):
            raise UserError(f"{filename} has no weights under 'model_state', as pycls' .pyth files do: {keys_of(data)}")
        weights = {k: v for k, v in data["model_state"].items() if not k.endswith("num_batches_tracked")}
        return {"model": weights, "__author__": "pycls", "matching_heuristics": True}, "model_state"
    blobs = data.get("blobs", data)
    if filename.endswith(".pkl") and _is_state(blobs) and not any("." in name for name in blobs):
        # Caffe2 files of Detectron (ImageNet backbones), whose names are such as res2_0_branch2a_w.
        weights = {k: v for k, v in blobs.items() if not k.endswith("_momentum")}
        return {"model": weights, "__author__": "Caffe2", "matching_heuristics": True}, ""
    for key in KEYS:
        if _is_state(data.get(key)):
            return {**{k: v for k, v in data.items() if k != key}, "model": copy(data[key])}, key
    if _is_state(data):
        return {"model": copy(data)}, ""
    raise UserError(f"{filename} holds no weights that can be found: {keys_of(data)}")


def _is_state(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(k, str) for k in value) and any(map(_is_tensor, value.values()))


def _is_tensor(value: Any) -> bool:
    return isinstance(value, torch.Tensor | np.ndarray)


def wrappers_of(names: Iterable[str]) -> list[str]:
    """Return "" and the wrapper prefixes that occur in names, such as "module." and "module.model."."""
    found = {""}
    for name in names:
        wrapped = _WRAPPED.match(name)
        parts = wrapped[0].split(".")[:-1] if wrapped else []
        found |= {".".join(parts[: i + 1]) + "." for i in range(len(parts))}
    return sorted(found, key=lambda prefix: (len(prefix), prefix))


def unwrap(weights: Mapping[str, Any], ours: Iterable[str]) -> tuple[str, dict[str, Any]]:
    """Remove the wrapper prefix from names: `module.`, `model.`, `student.`, or several of these.

    Args:
        weights: names -> tensors of the file.
        ours: names in the model.

    Returns:
        the prefix with which most names fit ("" if no other is better), and the weights under it. They keep the
        versions of modules that `state_dict()` notes, because modules convert weights of an old version.
    """
    known = set(ours)
    prefixes = wrappers_of(weights)
    best = max(prefixes, key=lambda p: sum(n.startswith(p) and n[len(p) :] in known for n in weights))
    unwrapped = OrderedDict((n[len(best) :], v) for n, v in weights.items() if n.startswith(best))
    versions = getattr(weights, "_metadata", None)
    if isinstance(versions, dict):
        outer = best.rstrip(".")
        inner = {n[len(best) :]: v for n, v in versions.items() if n == outer or n.startswith(best)}
        unwrapped._metadata = inner  # type: ignore[attr-defined]
    return best, unwrapped


def split_query(path: str) -> tuple[str, bool]:
    """Split `?matching_heuristics=True` off an address; return the address and the value.

    Raises:
        UserError: if the value is neither True nor False.
    """
    address, query, value = path.partition("?matching_heuristics=")
    if query and value not in ("True", "False"):
        raise UserError(f"{path}: matching_heuristics is '{value}', expected True or False")
    return address, value == "True"


def keys_of(data: Mapping[Any, Any]) -> str:
    """Return a text that names the first keys of a dict."""
    names = [str(key)[:60] for key in data]
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"its keys are {', '.join(names[:5])}{more}" if names else "it is empty"


# Pattern of a name -> description of the file.
_KINDS = (
    (r"layer1\.0\.", "a bare ResNet with torchvision's names, "),
    (r"features\.0\.", "a bare network of torchvision, "),
    (r"conv_stem\.|stem\.0\.|patch_embed\.", "a bare network of timm, "),
    (r"backbone\.body\.", "a detector of torchvision, "),
    (r"(bbox_head|rpn_head|neck)\.", "a detector of mmdetection, whose layers are not Detectron2's, "),
)


def describe(data: Mapping[str, Any], weights: Mapping[str, Any], key: str) -> str:
    """Describe a file by its keys and names, and say where in it the weights are."""
    kind = "a checkpoint of Lightning, " if "pytorch-lightning_version" in data else ""
    if not kind:
        wrappers = wrappers_of(weights)
        bare = {n.removeprefix(w) for n in weights for w in wrappers}
        kind = next((words for pattern, words in _KINDS if any(re.match(pattern, n) for n in bare)), "")
    return kind + (f"weights under '{key}', " if key not in ("", "model") else "")
