"""Read Detectron2's YAML configs and build their models."""

from .. import _detectron2  # noqa: F401

# isort: split

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import yaml
from detectron2 import model_zoo
from detectron2.config import CfgNode, get_cfg
from detectron2.modeling import build_model
from detectron2.utils.registry import locate
from omegaconf import ListConfig, OmegaConf
from torch import nn

from ..errors import UserError
from .project_file import project_cfg, project_trainer


def yaml_model(
    config: str,
    opts: Sequence[Any] = (),
    extend: str | Sequence[str] = (),
    project: str | None = None,
    device: str = "cpu",
) -> nn.Module:
    """Build the model of one of Detectron2's YAML configs, for a LazyConfig node.

    Args:
        config: path of a YAML file, or a name in the zoo such as "COCO-Detection/faster_rcnn_R_101_FPN_3x.yaml".
        opts: alternating keys and values that override it.
        extend: dotted names of functions that add a project's keys before the file is read, such as
            "detectron2.projects.deeplab.add_deeplab_config". A string is one name.
        project: path of a project's Python file; its `setup` reads the config, its Trainer builds the model.
        device: where the model is built; some models remember it.

    Raises:
        UserError: if there is no such config, or an override does not fit it.
    """
    cfg = read_cfg(config, opts, extend, project)
    cfg.MODEL.DEVICE = device
    try:
        model = project_trainer(project).build_model(cfg) if project else build_model(cfg)
    except KeyError as error:
        if "registry" not in str(error):
            raise
        raise UserError(f"{config} with opts {list(opts)}: {error.args[0]}") from error
    model.input_format = cfg.INPUT.FORMAT
    return model


def read_cfg(
    config: str, opts: Sequence[Any] = (), extend: str | Sequence[str] = (), project: str | None = None
) -> CfgNode:
    """Return a CfgNode that is not frozen; the arguments are those of `yaml_model`.

    Raises:
        UserError: if there is no such file, it is not plain data, or a key or value does not fit.
    """
    # A LazyConfig passes omegaconf lists, which a YAML config rejects.
    opts = cast(list[Any], OmegaConf.to_container(opts)) if isinstance(opts, ListConfig) else list(opts)
    path, _ = find_yaml(config)
    trusted = [Path(model_zoo.__file__).parent / "configs", *([Path(project).parent] if project else [])]
    _require_plain(Path(path), [folder.resolve() for folder in trusted])
    try:
        if project is not None:
            return project_cfg(project, path, opts)
        cfg = get_cfg()
        for name in [extend] if isinstance(extend, str) else extend:
            _extend(cfg, name)
        cfg.merge_from_file(path, allow_unsafe=True)  # `_require_plain` allows only trusted files to run code
        cfg.merge_from_list(opts)
    except (AssertionError, KeyError, ValueError) as error:
        if not _of_yacs(error):
            raise
        if isinstance(error, KeyError) and "Non-existent config key" in str(error):  # in the file
            raise UserError(_unknown_key(config, error, project)) from error
        with_opts = f" with {opts}" if opts else ""
        raise UserError(f"YAML config {config}{with_opts}: {error}") from error
    return cfg


def _of_yacs(error: Exception) -> bool:
    """Return whether yacs raised an error, because of a key or a value, and not a project's own code."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_globals["__name__"].startswith("yacs.")


def find_yaml(config: str) -> tuple[str, bool]:
    """Return the path of a YAML config, and whether it is part of Detectron2's model zoo.

    Raises:
        UserError: if it is neither a file nor a name in the zoo.
    """
    if Path(config).is_file():
        return config, False
    try:
        if ".." in Path(config).parts:
            raise FileNotFoundError
        return model_zoo.get_config_file(config), True
    except FileNotFoundError as error:
        raise UserError(f"no YAML config '{config}'") from error
    except RuntimeError as error:
        raise UserError(f"no YAML config '{config}': neither a file nor a name in Detectron2's zoo") from error


def _require_plain(path: Path, trusted: Sequence[Path]) -> None:
    """Raise UserError if a YAML file, or one of its `_BASE_` files, runs code.

    Detectron2 lets YAML files run code. Some files of its model zoo and of projects do; all others must be plain data.

    Args:
        path: the file.
        trusted: folders whose files may run code.
    """
    if any(folder in path.resolve().parents for folder in trusted):
        return
    try:
        content = yaml.safe_load(path.read_text())
    except OSError as error:
        raise UserError(f"YAML config '{path}' cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"YAML config '{path}' is not plain data: {str(error).splitlines()[0]}") from error
    bases = content.get("_BASE_", []) if isinstance(content, dict) else []
    for base in [bases] if isinstance(bases, str) else bases:
        _require_plain(path.parent / Path(base).expanduser(), trusted)


def _extend(cfg: CfgNode, name: str) -> None:
    try:
        locate(name)(cfg)
    except ImportError as error:
        raise UserError(f"extend: there is no function '{name}': {error}") from error


def _unknown_key(config: str, error: KeyError, project: str | None) -> str:
    key = str(error.args[0]).rpartition("key: ")[-1]
    line = f"YAML config '{config}' has the key {key}, which Detectron2 does not know"
    if project is not None:
        return f"{line}, nor the setup of {project}"
    return (
        f"{line}: name the project's train_net.py with --project, or in a LazyConfig the function that adds the key, "
        "such as extend=['detectron2.projects.deeplab.add_deeplab_config']"
    )
