"""Teachers: any Detectron2 model with trained weights, frozen."""

from . import _detectron2  # noqa: F401

# isort: split

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from detectron2 import model_zoo
from detectron2.config import get_cfg
from detectron2.modeling import build_model
from detectron2.utils.registry import locate
from omegaconf import ListConfig, OmegaConf
from torch import nn

from .checkpoint import Checkpointer, require_all_keys
from .errors import UserError

logger = logging.getLogger(__name__)


def load_teacher(
    model: nn.Module, weights: str, expected_missing: Sequence[str] = (), input_format: str | None = None
) -> nn.Module:
    """Load trained weights into `model`, every key of them, and freeze it in eval mode.

    Args:
        model: any Detectron2 model, with its own pixel mean, std and channel order.
        weights: a path, `detectron2://...` or `https://...`; Detectron2's `.pkl` and `.pth` formats.
        expected_missing: prefixes of keys that may be missing, unexpected or of another shape.
        input_format: "BGR" or "RGB", the channel order it was trained with; None: as the model says itself
            (`model.input_format`; SemanticSegmentor and FCOS do not), else the student's.

    Raises:
        UserError: if there are no weights, the file cannot be read, a key does not fit, or a value is not finite.
    """
    if not weights:
        raise UserError("the teacher has no weights: set model.teacher.weights to its checkpoint")
    checkpointer = Checkpointer(model)
    checkpointer.load(weights)
    require_all_keys(checkpointer.incompatible, f"teacher checkpoint {weights}", tuple(expected_missing))
    state = model.state_dict()
    if input_format is not None:
        model.input_format = input_format
    size = sum(p.numel() for p in model.parameters())
    logger.info(
        f"Teacher {type(model).__name__}: {size / 1e6:.2f} M parameters, {len(state)} keys loaded from "
        f"{weights} (sha256 {checkpointer.sha256[:12]})"
    )
    return model.requires_grad_(False).eval()


@torch.no_grad()
def inherit(student: nn.Module, teacher: nn.Module, prefixes: Sequence[str]) -> list[str]:
    """Copy weights of the teacher into the student, where name and shape agree; log and return their names.

    Args:
        student: changed in place.
        teacher: the source.
        prefixes: of the names to copy, such as "backbone.fpn" or "roi_heads".

    Raises:
        UserError: if nothing under a prefix agrees.
    """
    ours, theirs = student.state_dict(), teacher.state_dict()
    names = [n for n, v in ours.items() if n.startswith(tuple(prefixes)) and n in theirs and theirs[n].shape == v.shape]
    for prefix in prefixes:
        if not any(name.startswith(prefix) for name in names):
            raise UserError(f"train.inherit: nothing under '{prefix}' agrees in name and shape with the teacher")
    for name in names:
        ours[name].copy_(theirs[name])
    if names:
        logger.info(f"The student inherits {len(names)} tensors from the teacher: {', '.join(names)}")
    return names


def yaml_model(config: str, opts: Sequence[Any] = (), extend: Sequence[str] = ()) -> nn.Module:
    """Build the model of one of Detectron2's YAML configs, for a LazyConfig node.

    Args:
        config: path of a YAML file, or a name in the zoo such as "COCO-Detection/faster_rcnn_R_101_FPN_3x.yaml".
        opts: alternating keys and values that override it.
        extend: functions by their dotted names that add a project's keys before the file is read, such as
            "detectron2.projects.deeplab.add_deeplab_config".

    Raises:
        UserError: if there is no such config, or it has no such option.
    """
    cfg = get_cfg()
    for name in extend:
        try:
            locate(name)(cfg)
        except ImportError as error:
            raise UserError(f"extend: there is no function '{name}': {error}") from error
    try:
        # Detectron2 lets a YAML file run code, and some of its zoo's do; anybody else's shall not.
        of_zoo = not Path(config).is_file() and ".." not in Path(config).parts
        cfg.merge_from_file(model_zoo.get_config_file(config) if of_zoo else config, allow_unsafe=of_zoo)
    except FileNotFoundError as error:
        raise UserError(f"no YAML config '{config}'") from error
    except yaml.YAMLError as error:
        raise UserError(f"YAML config '{config}' is not plain data: {str(error).splitlines()[0]}") from error
    except RuntimeError as error:
        raise UserError(f"no YAML config '{config}': neither a file nor a name in Detectron2's zoo") from error
    # A LazyConfig hands over lists of its own kind, which a YAML config takes for a wrong type.
    opts = OmegaConf.to_container(opts) if isinstance(opts, ListConfig) else list(opts)
    try:
        cfg.merge_from_list(opts)
    except (AssertionError, KeyError, ValueError) as error:
        raise UserError(f"opts {opts} do not fit {config}: {error}") from error
    # The whole model is moved later, once, with the student.
    cfg.MODEL.DEVICE = "cpu"
    try:
        model = build_model(cfg)
    except KeyError as error:  # of a registry
        raise UserError(f"{config} with opts {opts}: {error.args[0]}") from error
    model.input_format = cfg.INPUT.FORMAT
    return model
