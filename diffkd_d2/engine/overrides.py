"""Apply `key=value` overrides to a config. They are data: they never decide what is called."""

import inspect
import os
import re
from typing import Any

from detectron2.config import LazyConfig
from detectron2.utils.registry import locate
from omegaconf import DictConfig, ListConfig, OmegaConf

from ..errors import UserError, nearest
from ..meta_arch.auto_points import AutoPoints

# `_target_` names what a LazyCall calls, `extend` the functions that `yaml_model` runs, `project` a file that it runs:
# in a key, or as a key of a dict in a value.
_CALLED_IN_KEY = re.compile(r"_target_|\b(extend|project)\b")
_CALLED_IN_VALUE = re.compile(r"_target_|(?<![^\s{,'\"])(extend|project)(?=['\"]?\s*:)")
# `${train.seed}` only refers; everything else in `${...}` may compute, such as `${oc.decode:...}`.
_REFERENCE = re.compile(r"\$\{[\w.\[\]]+\}")


def apply_overrides(cfg: DictConfig, overrides: list[str]) -> DictConfig:
    """Apply `key=value` overrides.

    A key must exist in the config, or be a keyword argument of what a LazyCall calls; `+key=value` adds any other. A
    value that starts with "~" starts with the home folder, and an unquoted text may contain "=".

    Raises:
        UserError: if an override is not `key=value` or not data, or its key does not exist.
    """
    for override in overrides:
        key, equals, _ = override.partition("=")
        if not equals:
            raise UserError(f"override '{override}' is not of the form key=value")
        require_data(override)
        if not key.startswith("+"):
            _require_key(cfg, key)
        elif key.startswith("+model.points.") and isinstance(OmegaConf.select(cfg, "model.points"), ListConfig):
            if not key.split(".")[2].isdigit():
                raise UserError(f"override '{override}' goes with --method; here model.points is a list: name a point")
    for override in overrides:
        key, _, value = override.removeprefix("+").partition("=")
        try:
            if value.startswith("[") and isinstance(OmegaConf.select(cfg, key), DictConfig):
                OmegaConf.update(cfg, key, [], merge=False)  # a list replaces points that a method chooses
            LazyConfig.apply_overrides(cfg, [f"{key}={_quoted(value)}"])
        except Exception as error:  # hydra's parser and omegaconf each raise their own kinds
            raise UserError(f"cannot apply override '{override}': {str(error).splitlines()[0]}") from error
    return cfg


def _quoted(value: str) -> str:
    """Quote a text with "~", which becomes the home folder, or with "="; the parser of overrides knows neither."""
    if value.startswith("~"):
        return f"'{os.path.expanduser(value)}'"
    if "=" not in value or "\\=" in value or value.lstrip()[:1] in ("[", "{", "'", '"'):
        return value
    return "'" + value.replace("'", "\\'") + "'"


def locate_target(node: Any) -> Any:
    """Return what a LazyCall node calls. If the node is not a LazyCall, return None."""
    if not isinstance(node, DictConfig) or "_target_" not in node:
        return None
    target = node._target_
    return locate(target) if isinstance(target, str) else target


def require_data(override: str) -> None:
    """Raise UserError if `key=value` decides what is called, in its key or value, or uses a resolver."""
    key, _, value = override.partition("=")
    called = _CALLED_IN_KEY.search(key) or _CALLED_IN_VALUE.search(value)
    if called:
        raise UserError(f"override '{override}': {called[0]} decides what is called, which only a config may")
    if "${" in _REFERENCE.sub("", override):
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
            known = [name for name in known if name != "_target_"]
            names = [f"{prefix}.{name}" if prefix else name for name in known]
            if locate_target(node) is AutoPoints:
                raise UserError(
                    f"the config has no key '{key}': {prefix} is chosen by the models, and its options are "
                    f"{', '.join(names)}, and +{prefix}.OPTION for one of the distiller's; the log shows the list"
                )
            if isinstance(node, ListConfig):
                raise UserError(f"the config has no key '{key}': {prefix} is a list of {len(node)}, numbered from 0")
            raise UserError(f"the config has no key '{key}'{nearest('.'.join(parts[: i + 1]), names)}")


def _parameters(node: Any) -> list[str]:
    """Return the keyword arguments of what a LazyCall node calls."""
    target = locate_target(node)
    if target is None:
        return []
    try:
        parameters = inspect.signature(target).parameters.values()
    except (TypeError, ValueError):  # some builtins have no signature
        return []
    return [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
