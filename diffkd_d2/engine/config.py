"""The command line, LazyConfigs, and overrides, which are data: none decides what is called."""

import builtins
import inspect
import os
import re
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

from detectron2.config import LazyConfig
from detectron2.engine import default_argument_parser
from detectron2.utils.registry import locate
from omegaconf import DictConfig, ListConfig, OmegaConf

from ..errors import ProjectError, UserError, nearest
from .schema import check_config

# `_target_` names what a LazyCall calls, `extend` the functions that `yaml_model` runs: as a key, or in a value.
_CALLED = re.compile(r"(_target_)|\b(extend)\b(?=[^=]*=)|\b(extend)['\"]?\s*:")
# `${oc.decode:...}` and the like compute; `${train.seed}` only refers.
_RESOLVER = re.compile(r"\$\{[^}]*:")


def argument_parser(epilog: str | None = None) -> ArgumentParser:
    """Return Detectron2's options, `--eval-teacher` and `--dry-run`."""
    parser = default_argument_parser(epilog=epilog)
    next(action for action in parser._actions if action.dest == "opts").nargs = "*"  # not all that follows
    parser.add_argument("--eval-teacher", action="store_true", help="evaluate the teacher on the student's test data")
    parser.add_argument("--dry-run", action="store_true", help="stop before the first step and print the plan")
    return parser


def parse_arguments(parser: ArgumentParser, arguments: list[str]) -> Namespace:
    """Parse a command line, on which options may stand after overrides."""
    return parser.parse_intermixed_args(arguments)


def load_config(path: str, overrides: list[str]) -> DictConfig:
    """Load a LazyConfig and apply `key=value` overrides.

    A key is one that the config has, or a keyword of what a LazyCall calls; `+key=value` adds any other. The file is
    Python and runs; an override is data and can run nothing. A "~" in `train.output_dir` is the home folder.

    Raises:
        UserError: if the file is not there or no Python, an override is no `key=value` or not data, its key does not
            exist, or a value has another type or range than `schema.py` says.
        ProjectError: if the code in the file fails.
    """
    if not Path(path).is_file():
        raise UserError(f"no config file '{path}'")
    if not path.endswith(".py"):
        raise UserError(f"'{path}' is no LazyConfig, which is a .py file (Detectron2 would run code from a YAML one)")
    cfg = _run_config(path)
    for override in overrides:
        key, equals, _ = override.partition("=")
        if not equals:
            raise UserError(f"override '{override}' is not of the form key=value")
        require_data(override)
        if not key.startswith("+"):
            _require_key(cfg, key)
    try:
        cfg = LazyConfig.apply_overrides(cfg, [_expand_home(o.removeprefix("+")) for o in overrides])
    except Exception as error:  # hydra's parser and omegaconf each raise their own kinds
        raise UserError(f"cannot apply overrides: {str(error).splitlines()[0]}") from error
    check_config(cfg)
    cfg.train.output_dir = os.path.expanduser(cfg.train.output_dir)
    return cfg


def _expand_home(override: str) -> str:
    """Return `key=~/path` with the home folder; the parser of overrides knows no "~"."""
    key, _, value = override.partition("=")
    return f"{key}='{os.path.expanduser(value)}'" if value.startswith("~") else override


def _run_config(path: str) -> DictConfig:
    import_before = builtins.__import__
    try:
        return LazyConfig.load(path)
    except UserError:
        raise
    except SyntaxError as error:
        fault = error.__cause__ or error  # Detectron2 says which file, its cause which line
        raise UserError(f"{error.msg} line {fault.lineno}: {fault.msg}") from error
    except Exception as error:
        line = f"config {path}: {type(error).__name__}: {error}"
        if isinstance(error, ImportError) and "has to exist" in str(error):  # a relative import of no file
            raise UserError(line) from error
        raise ProjectError(line) from error
    finally:
        builtins.__import__ = import_before  # Detectron2 replaces it, and leaves it so where a config fails


def require_data(override: str) -> None:
    """Raise UserError where `key=value` names what is called, as key or anywhere in the value, or a resolver."""
    called = _CALLED.search(override)
    if called:
        raise UserError(f"override '{override}': {called[0]} decides what is called, which only a config may")
    if _RESOLVER.search(override):
        raise UserError(f"override '{override}': only references such as ${{train.seed}} are data")


def _require_key(cfg: DictConfig, key: str) -> None:
    node: Any = cfg
    parts = key.split(".")
    for i, part in enumerate(parts):
        if isinstance(node, ListConfig) and part.isdigit() and int(part) < len(node):
            node = node[int(part)]
        elif isinstance(node, DictConfig) and part in node:
            node = node._get_node(part) if OmegaConf.is_missing(node, part) else node[part]
        elif i + 1 == len(parts) and part in _parameters(node):
            return
        else:
            prefix = ".".join(parts[:i])
            known = sorted({*map(str, node), *_parameters(node)}) if isinstance(node, DictConfig) else []
            names = [f"{prefix}.{name}" if prefix else name for name in known]
            raise UserError(f"the config has no key '{key}'{nearest('.'.join(parts[: i + 1]), names)}")


def _parameters(node: Any) -> list[str]:
    """What the callable of a LazyCall node takes by keyword beyond what the config sets."""
    if not isinstance(node, DictConfig) or "_target_" not in node:
        return []
    target = node._target_
    try:
        parameters = inspect.signature(locate(target) if isinstance(target, str) else target).parameters.values()
    except (TypeError, ValueError):  # some builtins have no signature
        return []
    return [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
