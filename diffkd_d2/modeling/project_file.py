"""The Python file of a Detectron2 project, usually its train_net.py: its config and its Trainer."""

from .. import _detectron2  # noqa: F401

# isort: split

import importlib.util
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

from detectron2.config import CfgNode, get_cfg
from detectron2.engine import DefaultTrainer, default_argument_parser, default_setup
from detectron2.utils.logger import setup_logger

from ..errors import UserError


@lru_cache
def load_project(path: str) -> ModuleType:
    """Run a project's file, once, as a module; its folder is put on Python's path.

    Raises:
        UserError: if there is no such file.
    """
    file = Path(path).resolve()
    if not file.is_file() or file.suffix != ".py":
        raise UserError(f"--project: '{path}' is no Python file, such as ../Mask2Former/train_net.py")
    sys.path.insert(0, str(file.parent))
    # Not under its own name: "train_net" is also this repository's.
    name = f"diffkd_d2_project_{file.parent.name}_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None  # every .py file has both
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def project_cfg(path: str, config: str, opts: Sequence[Any]) -> CfgNode:
    """Return the config that a project makes of a YAML file: by its `setup`, else by `get_cfg` and `add_*_config`.

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
        with _kept_from_acting(setup):
            cfg = setup(args)
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


def project_trainer(path: str | None) -> type[DefaultTrainer]:
    """Return the project's subclass of DefaultTrainer; Detectron2's own where there is none."""
    if path is None:
        return DefaultTrainer
    found = {
        name: value
        for name, value in vars(load_project(path)).items()
        if isinstance(value, type) and issubclass(value, DefaultTrainer) and value is not DefaultTrainer
    }
    return found.get("Trainer") or next(iter(found.values()), DefaultTrainer)


def is_own(trainer: type[DefaultTrainer], method: str) -> bool:
    """Whether a trainer has a method of its own in place of DefaultTrainer's."""
    theirs, detectron2s = (getattr(cls, method, None) for cls in (trainer, DefaultTrainer))
    return getattr(theirs, "__func__", theirs) is not getattr(detectron2s, "__func__", detectron2s)


@contextmanager
def _kept_from_acting(setup: Callable[..., Any]) -> Iterator[None]:
    """Replace `default_setup` and `setup_logger`, where `setup` finds them, by functions that do nothing.

    They would seed, open log files and write a config.yaml, for the teacher's config too.
    """
    names = getattr(setup, "__globals__", {})
    idle = {default_setup: lambda *args, **kwargs: None, setup_logger: lambda *args, **kwargs: logging.getLogger()}
    before = {k: v for k, v in names.items() if callable(v) and getattr(v, "__hash__", None) and v in idle}
    names.update({name: idle[function] for name, function in before.items()})
    try:
        yield
    finally:
        names.update(before)
