"""Load a frozen teacher from a checkpoint, and initialise a student from it."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..checkpoint.checkpointer import Checkpointer, entries, first_of, require_all_keys
from ..errors import UserError

logger = logging.getLogger(__name__)


def load_teacher(
    model: nn.Module, weights: str | Path, expected_missing: Sequence[str] | str = (), input_format: str | None = None
) -> nn.Module:
    """Load trained weights into `model`, with all their keys, and freeze it in eval mode.

    The returned model has an attribute `weights_from`, which marks it as loaded.

    Args:
        model: any Detectron2 model, with its own pixel mean, std and channel order.
        weights: a path, `detectron2://...` or `https://...`; see `Checkpointer.load`.
        expected_missing: prefixes of keys that may be missing, unexpected or of another shape; a string is one prefix.
        input_format: "BGR" or "RGB", the channel order it was trained with. If None, `model.input_format` (which
            SemanticSegmentor and FCOS lack), else the student's order.

    Raises:
        UserError: if `weights` is empty, the file cannot be read, a key does not fit, or a value is NaN or Inf.
    """
    if not weights:
        raise UserError("the teacher has no weights: set model.teacher.weights to its checkpoint")
    weights = os.path.expanduser(weights)
    expected = entries(expected_missing, "expected_missing")
    checkpointer = Checkpointer(model)
    trained_on: Any = checkpointer.load(weights).get("classes")
    model.class_names = trained_on  # `check_logit_classes` compares it
    keys: Any = checkpointer.incompatible
    require_all_keys(keys, f"teacher checkpoint {weights}", expected)
    random = [k for k in keys.missing_keys if not k.endswith("num_batches_tracked")]
    if random:
        logger.warning(f"{len(random)} tensors of the teacher stay random (expected_missing): {first_of(random)}")
    if input_format is not None:
        model.input_format = input_format  # type: ignore[assignment]
    model.weights_from = weights  # type: ignore[assignment]
    model.weights_sha256 = checkpointer.sha256[:12]  # type: ignore[assignment]
    size = sum(p.numel() for p in model.parameters())
    logger.info(
        f"Teacher {type(model).__name__}: {size / 1e6:.2f} M parameters, {len(checkpointer.loaded)} keys loaded from "
        f"{weights} (sha256 {checkpointer.sha256[:12]})"
    )
    return model.requires_grad_(False).eval()


@torch.no_grad()
def inherit(student: nn.Module, teacher: nn.Module, prefixes: Sequence[str] | str) -> list[str]:
    """Copy weights of the teacher whose name and shape agree into the student; log and return their names.

    Args:
        student: changed in place.
        teacher: the source.
        prefixes: prefixes of the names to copy, such as "backbone.fpn" or "roi_heads". "neck" means an FPN backbone
            without its bottom-up network, "head" everything except the backbone. A string is one prefix.

    Raises:
        UserError: if no weight under a prefix agrees.
    """
    prefixes = entries(prefixes, "train.inherit")
    ours, theirs = student.state_dict(), teacher.state_dict()
    if "neck" in prefixes and not any(name.startswith("backbone.bottom_up.") for name in ours):
        raise UserError("train.inherit: the student's backbone is not an FPN, so it has no neck")
    common = [name for name, value in ours.items() if name in theirs and theirs[name].shape == value.shape]
    names = [name for name in common if any(_is_under(name, prefix) for prefix in prefixes)]
    for prefix in prefixes:
        if not any(_is_under(name, prefix) for name in names):
            raise UserError(f"train.inherit: nothing under '{prefix}' agrees in name and shape with the teacher")
    for name in names:
        ours[name].copy_(theirs[name])
    if names:
        logger.info(f"The student inherits {len(names)} tensors from the teacher: {', '.join(names)}")
    return names


def _is_under(name: str, prefix: str) -> bool:
    if prefix == "neck":
        return name.startswith("backbone.") and not name.startswith("backbone.bottom_up.")
    return not name.startswith("backbone.") if prefix == "head" else name.startswith(prefix)


def require_loaded(teachers: Sequence[nn.Module]) -> None:
    """Raise UserError if a teacher was not loaded by `load_teacher`; its weights would be random."""
    for i, teacher in enumerate(teachers):
        if not getattr(teacher, "weights_from", ""):
            which = f"teacher {i}" if len(teachers) > 1 else "the teacher"
            raise UserError(
                f"{which}, a {type(teacher).__name__}, has random weights: "
                "model.teacher must be L(load_teacher)(model=..., weights=...)"
            )
