"""The Python file of a Detectron2 project, usually its train_net.py: its config and its Trainer."""

from .. import _detectron2  # noqa: F401

# isort: split

import importlib.util
import inspect
import logging
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import detectron2.utils.logger
from detectron2 import engine
from detectron2.config import CfgNode, get_cfg
from detectron2.engine import DefaultTrainer, default_argument_parser, default_setup
from detectron2.utils.logger import setup_logger

from ..errors import ProjectError, UserError
from ..evaluation.third_party import provide_what_is_installed


@lru_cache
def load_project(path: str) -> ModuleType:
    """Import a project's file as a module, once; prepend its folder to `sys.path`.

    Raises:
        UserError: if there is no such file.
        ProjectError: if its code fails.
    """
    file = Path(path).resolve()
    if not file.is_file() or file.suffix != ".py":
        raise UserError(f"--project: '{path}' is not a Python file such as ../Mask2Former/train_net.py")
    sys.path.insert(0, str(file.parent))
    try:
        try:
            return _execute(file)
        except ModuleNotFoundError as error:
            if str(error.name).partition(".")[0] not in ("panopticapi", "deeplearning"):
                raise
            provide_what_is_installed()
            return _execute(file)
    except Exception as error:
        cure = "; install it, or put its folder on PYTHONPATH" if isinstance(error, ModuleNotFoundError) else ""
        raise ProjectError(f"--project {path}: {type(error).__name__}: {error}{cure}") from error


def _execute(file: Path) -> ModuleType:
    # Not its own name, because "train_net" is also a module of this repository.
    name = f"diffkd_d2_project_{file.parent.name}_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None  # every .py file has both
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def project_cfg(path: str, config: str, opts: Sequence[Any]) -> CfgNode:
    """Return the config that a project builds from a YAML file, by its `setup` or else by `get_cfg` and `add_*_config`.

    Args:
        path: the project's file.
        config: the YAML file.
        opts: alternating keys and values that override it.

    Raises:
        UserError: if `setup` returns no CfgNode.
    """
    module = load_project(path)
    setup = getattr(module, "setup", None)
    if callable(setup):
        args = default_argument_parser().parse_args(["--config-file", config, *map(str, opts)])
        try:
            with _without_side_effects(setup):
                cfg = setup(args)
        except AttributeError as error:
            if not isinstance(error.obj, Namespace):
                raise
            known = "setup is given the arguments of Detectron2's default_argument_parser only"
            raise ProjectError(f"--project {path}: {type(error).__name__}: {error} ({known})") from error
        if not isinstance(cfg, CfgNode):
            raise UserError(f"{path}: setup returns a {type(cfg).__name__}, not a CfgNode")
        cfg = cfg.clone()
        cfg.defrost()
        return cfg
    cfg = getattr(module, "get_cfg", get_cfg)()
    for name, add in list(vars(module).items()):
        if name.startswith("add_") and name.endswith("_config") and callable(add):
            add(cfg)
    cfg.merge_from_file(config)
    cfg.merge_from_list(list(opts))
    return cfg


@lru_cache
def project_trainer(path: str | None) -> type[DefaultTrainer]:
    """Return the project's subclass of DefaultTrainer, or DefaultTrainer itself if there is none.

    Of several, return the one named Trainer, else the last that no other one is derived from. If there is none, a
    Trainer with a class method `build_model` is completed by DefaultTrainer's methods.
    """
    if path is None:
        return DefaultTrainer
    names = vars(load_project(path))
    found = [x for x in names.values() if isinstance(x, type) and issubclass(x, DefaultTrainer)]
    derived = [x for x in found if not any(x in other.__mro__[1:] for other in found)]
    own = names.get("Trainer")
    if isinstance(own, type) and own not in found and all(x is DefaultTrainer for x in found):
        if isinstance(inspect.getattr_static(own, "build_model", None), classmethod | staticmethod):
            return type(own.__name__, (own, DefaultTrainer), {})
    return names["Trainer"] if own in found else [DefaultTrainer, *derived][-1]


def is_own(trainer: type[DefaultTrainer], method: str) -> bool:
    """Return whether a trainer overrides a method of DefaultTrainer."""
    theirs, detectron2s = (getattr(cls, method, None) for cls in (trainer, DefaultTrainer))
    return getattr(theirs, "__func__", theirs) is not getattr(detectron2s, "__func__", detectron2s)


@contextmanager
def _without_side_effects(setup: Callable[..., Any]) -> Iterator[None]:
    """Replace the `default_setup` and `setup_logger` that `setup` calls by functions that do nothing.

    They would set the seed, open log files and write a config.yaml, also for the teacher's config. A project may have
    its own of these names.
    """
    no_ops = {default_setup: lambda *args, **kwargs: None, setup_logger: lambda *args, **kwargs: logging.getLogger()}
    own = getattr(setup, "__globals__", {})
    no_ops |= {own[f.__name__]: no_op for f, no_op in list(no_ops.items()) if callable(own.get(f.__name__))}
    modules: list[dict[str, Any]] = [
        own,
        *(m.__dict__ for m in (engine, engine.defaults, detectron2.utils.logger)),
    ]
    before = [
        (names, name, function)
        for names in modules
        for name, function in names.items()
        if callable(function) and getattr(function, "__hash__", None) and function in no_ops
    ]
    for names, name, function in before:
        names[name] = no_ops[function]
    try:
        yield
    finally:
        for names, name, function in before:
            names[name] = function
