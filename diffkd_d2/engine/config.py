"""Read the command line and LazyConfigs, and complete a config with what every run has."""

import builtins
import os
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

from detectron2 import model_zoo
from detectron2.config import LazyCall as L
from detectron2.config import LazyConfig
from detectron2.engine import default_argument_parser
from omegaconf import DictConfig, ListConfig, OmegaConf

from ..errors import ProjectError, UserError
from ..meta_arch.auto_points import AutoPoints
from ..meta_arch.distilled_model import DistilledModel
from ..modeling.yaml_model import yaml_model
from .defaults import distill_defaults, train_defaults
from .overrides import apply_overrides, locate_target
from .schema import check_config


def argument_parser(epilog: str | None = None) -> ArgumentParser:
    """Return a parser of Detectron2's flags and ours."""
    parser = default_argument_parser(epilog=epilog)
    next(action for action in parser._actions if action.dest == "opts").nargs = "*"  # flags may follow
    parser.add_argument("--eval-teacher", action="store_true", help="evaluate the teacher on the student's test data")
    parser.add_argument("--dry-run", action="store_true", help="stop before the first step and print the plan")
    parser.add_argument("--teacher", help="config of the teacher: a file, or a name in Detectron2's zoo")
    parser.add_argument("--teacher-weights", help="checkpoint of the teacher; every key must fit")
    parser.add_argument("--method", help="distillation method instead of the config's points, such as diffkd or pkd+kd")
    parser.add_argument("--project", help="train_net.py of the project that the YAML configs belong to; it is run")
    return parser


def parse_arguments(parser: ArgumentParser, arguments: list[str]) -> Namespace:
    """Parse a command line; flags may follow overrides."""
    return parser.parse_intermixed_args(arguments)


def load_config(path: str, overrides: list[str]) -> DictConfig:
    """Load a LazyConfig and apply `key=value` overrides.

    A key must exist in the config, or be a keyword argument of what a LazyCall calls; `+key=value` adds any other.
    Loading executes the file; overrides never execute code. A "~" in `train.output_dir` is the home folder.

    Raises:
        UserError: if the file is missing or not Python, an override is not `key=value` or not data, its key does not
            exist, or a value does not have the type and range in `schema.py`.
        ProjectError: if the code in the file fails.
    """
    return finish(apply_overrides(complete(load_lazy(path)), overrides))


def load_lazy(path: str) -> DictConfig:
    """Run a LazyConfig file and return what it defines.

    Raises:
        UserError: if the file is missing or not Python.
        ProjectError: if the code in the file fails.
    """
    return _run_config(find_lazy(path))


def find_lazy(path: str) -> str:
    """Return the path of a LazyConfig: `path` itself, or that of this name in Detectron2's zoo.

    Raises:
        UserError: if it is neither, or not Python.
    """
    if not path:
        raise UserError("no config: name one, such as --config-file configs/shapes/diffkd_retinanet_r18.py")
    if Path(path).is_file():
        if not path.endswith(".py"):
            raise UserError(f"'{path}' is neither a LazyConfig (.py) nor a YAML config (.yaml)")
        return path
    try:
        if not path.endswith(".py") or Path(path).is_absolute() or ".." in Path(path).parts:
            raise FileNotFoundError
        return model_zoo.get_config_file(path)
    except (FileNotFoundError, RuntimeError) as error:
        raise UserError(f"no config file '{path}', nor a config of that name in Detectron2's zoo") from error


def complete(cfg: DictConfig) -> DictConfig:
    """Add what a LazyConfig of another project lacks: a `DistilledModel` and all options of `train_net.py`.

    Detectron2's and detrex's `train.amp.enabled` and `train.clip_grad` set `train.amp.dtype` and `train.clip_norm`.

    Raises:
        UserError: if the config defines no model.
    """
    if "model" not in cfg:
        raise UserError("the config defines no model")
    theirs = cfg.get("train", OmegaConf.create())
    if locate_target(cfg.model) is not DistilledModel:
        cfg.model = L(DistilledModel)(student=cfg.model, points=[])
        cfg.notes, theirs = _take_over(theirs)
    cfg.train = OmegaConf.merge(train_defaults(), theirs)
    cfg.distill = OmegaConf.merge(distill_defaults(), cfg.get("distill", {}))
    if "params" in cfg.get("optimizer", {}) and "distiller_lr_factor" not in cfg.optimizer.params:
        cfg.optimizer.params.distiller_lr_factor = 1.0
    return cfg


def _take_over(train: DictConfig) -> tuple[list[str], DictConfig]:
    """Translate another project's `train`: return notes for the log on unused options, and the options in our names."""
    ours = {key: value for key, value in train.items() if key in train_defaults() and key != "amp"}
    if OmegaConf.select(train, "amp.enabled"):
        ours["amp"] = dict(dtype="float16")
    if OmegaConf.select(train, "clip_grad.enabled"):
        ours["clip_norm"] = train.clip_grad.params.max_norm
    others = [str(key) for key in train if key not in train_defaults() and key != "clip_grad"]
    return [f"train.{key} is not honoured" for key in others], OmegaConf.create(ours)


def _run_config(path: str) -> DictConfig:
    import_before = builtins.__import__
    try:
        return LazyConfig.load(path)
    except UserError:
        raise
    except SyntaxError as error:
        # Detectron2's error names the file; its cause has the line.
        fault = error.__cause__ if isinstance(error.__cause__, SyntaxError) else error
        raise UserError(f"{error.msg} line {fault.lineno}: {fault.msg}") from error
    except Exception as error:
        line = f"config {path}: {type(error).__name__}: {error}"
        if type(error) is ImportError and error.name is None:  # Detectron2's own: a relative import of a missing file
            raise UserError(line) from error
        raise ProjectError(line) from error
    finally:
        builtins.__import__ = import_before  # Detectron2 replaces it and does not restore it if a config fails


def finish(cfg: DictConfig) -> DictConfig:
    """Check the config, and pass `distill.where` and `distill.levels` to AutoPoints.

    The points come last in `model`, so that the distillers' random weights do not depend on how the points were chosen.

    Raises:
        UserError: if `distill.where` or `distill.levels` is set but the config lists its points, or a value does not
            have the type and range in `schema.py`.
    """
    _write_paths(cfg)
    check_config(cfg)
    cfg.train.output_dir = os.path.expanduser(cfg.train.output_dir)
    given = {key: cfg.distill.pop(key) for key in ("where", "levels") if key in cfg.distill}
    given = {key: value for key, value in given.items() if value is not None}
    points = cfg.model.pop("points", [])
    if given and not points:
        unused = ", ".join(f"distill.{key}" for key in given)
        cfg.notes = [*cfg.get("notes", []), f"{unused}: no effect, because there are no points"]
        given = {}
    if given and locate_target(points) is not AutoPoints:
        raise UserError(f"distill.{next(iter(given))} is for points that --method chooses; this config lists its own")
    if given:
        points.update(given)
    cfg.model.points = points
    return cfg


def _write_paths(node: Any) -> None:
    """Replace each `Path` of a config by its text, and a "~/" at the start of a text by the home folder."""
    if isinstance(node, DictConfig | ListConfig):
        for key in list(node) if isinstance(node, DictConfig) else range(len(node)):
            if OmegaConf.is_missing(node, key) or OmegaConf.is_interpolation(node, key):
                continue
            _write_paths(node[key])
            if isinstance(node[key], str | Path):
                node[key] = os.path.expanduser(node[key]) if str(node[key]).startswith("~/") else str(node[key])


def place_models(node: Any, device: str) -> None:
    """Set the device of each YAML model, and of each LazyCall with a `device`: some models store their device."""
    if isinstance(node, ListConfig):
        for part in node:
            place_models(part, device)
    elif isinstance(node, DictConfig):
        if locate_target(node) is yaml_model or ("_target_" in node and "device" in node):
            node.device = device
        for key in node:
            place_models(node._get_node(key), device)
