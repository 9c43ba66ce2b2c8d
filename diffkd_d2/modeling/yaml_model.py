"""Build the model of one of Detectron2's YAML configs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from detectron2 import model_zoo
from detectron2.config import get_cfg
from detectron2.modeling import build_model
from detectron2.utils.registry import locate
from omegaconf import ListConfig, OmegaConf
from torch import nn

from ..errors import UserError


def yaml_model(config: str, opts: Sequence[Any] = (), extend: str | Sequence[str] = ()) -> nn.Module:
    """Build the model of one of Detectron2's YAML configs, for a LazyConfig node.

    Args:
        config: path of a YAML file, or a name in the zoo such as "COCO-Detection/faster_rcnn_R_101_FPN_3x.yaml".
        opts: alternating keys and values that override it.
        extend: functions by their dotted names that add a project's keys before the file is read, such as
            "detectron2.projects.deeplab.add_deeplab_config"; a text is one of them.

    Raises:
        UserError: if there is no such config, or it has no such option.
    """
    cfg = get_cfg()
    for name in [extend] if isinstance(extend, str) else extend:
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
    except KeyError as error:  # yacs
        key = str(error.args[0]).rpartition("key: ")[-1]
        raise UserError(
            f"YAML config '{config}' has the key {key}, which Detectron2 does not know: name the project's function "
            "that adds it in extend, such as extend=['detectron2.projects.deeplab.add_deeplab_config']"
        ) from error
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
    except KeyError as error:
        if "registry" not in str(error):
            raise
        raise UserError(f"{config} with opts {opts}: {error.args[0]}") from error
    model.input_format = cfg.INPUT.FORMAT
    return model
