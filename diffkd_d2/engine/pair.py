"""Combine the command line's config (lazy or YAML), teacher and method into one config."""

from .. import _detectron2  # noqa: F401

# isort: split

import re
from argparse import Namespace
from pathlib import Path

from detectron2 import model_zoo
from detectron2.config import LazyCall as L
from omegaconf import DictConfig, OmegaConf

from ..errors import UserError
from ..meta_arch.auto_points import AutoPoints
from ..modeling.teacher import load_teacher
from ..modeling.yaml_model import find_yaml, read_cfg, yaml_model
from ..recipes import find_recipes
from .config import complete, find_lazy, finish, load_lazy
from .overrides import apply_overrides
from .project import from_project

ALONE = "alone"
DEFAULT_METHOD = "diffkd"
# What an override of ours begins with.
_OURS = re.compile(r"\+?(model|dataloader|optimizer|lr_multiplier|train|distill)(\.\w+)*=")

# Of these, what concerns distillation alone, and what no config without points can hold.
_OF_DISTILLATION = re.compile(r"\+?(model\.points|distill)\b")
_OF_POINTS = re.compile(r"\+?(model\.points|distill\.where|distill\.levels)\b")


def configure(args: Namespace) -> DictConfig:
    """Return the config of a command line; `args` come from `engine.config.argument_parser`.

    Overrides such as `SOLVER.MAX_ITER 90000` change the YAML config; `key=value` overrides are applied last.

    Raises:
        UserError: if a file, name or key does not exist, a value does not fit, or flags exclude each other.
    """
    actions = ("eval_only", "eval_teacher", "dry_run")
    given = [f"--{name.replace('_', '-')}" for name in actions if getattr(args, name)]
    if len(given) > 1:
        raise UserError(f"{' and '.join(given)} exclude each other")
    capitals, ours = split_overrides(args.opts)
    if is_yaml(args.config_file):
        cfg = from_project(args.config_file, args.project, capitals)
        args.config_file = find_yaml(args.config_file)[0]  # the log shows the text of this file
    elif capitals or args.project:
        what = f"'{capitals[0]}'" if capitals else "--project"
        raise UserError(f"{what} goes with a YAML config; {args.config_file} is a LazyConfig, which takes key=value")
    else:
        args.config_file = find_lazy(args.config_file)
        cfg = complete(load_lazy(args.config_file))
    if args.teacher is not None:
        cfg.model.teacher = teacher_node(args.teacher, args.teacher_weights, args.project)
    elif args.teacher_weights:
        raise UserError("--teacher-weights needs --teacher, the config of the model that the weights are of")
    _choose_method(cfg, args.method, of_flags=args.teacher is not None)
    used = ours
    if args.method == ALONE or (not cfg.model.get("teacher") and (args.method or is_yaml(args.config_file))):
        # So that the baseline takes a method's command line.
        used = [override for override in ours if not _OF_POINTS.match(override)]
    cfg = finish(apply_overrides(cfg, used))
    _note_what_is_unused(cfg, args.method, ours)
    return cfg


def _note_what_is_unused(cfg: DictConfig, method: str | None, overrides: list[str]) -> None:
    """Where the student trains alone, note for the log what of the command line and the config has no effect."""
    has_teacher = bool(cfg.model.get("teacher"))
    if has_teacher and cfg.model.points:
        return
    if has_teacher and method is None and "model.points=[]" not in overrides:
        note = "model.points is empty: no distillation; the teacher serves train.inherit and distill.teacher_check only"
        cfg.notes = [*cfg.get("notes", []), note]
    effective = ("model.points=[]", "distill.teacher_check=") if has_teacher else ("model.points=[]",)
    unused = [f"--method {method}"] if method not in (None, ALONE) else []
    unused += [o for o in overrides if _OF_DISTILLATION.match(o) and not o.startswith(effective)]
    if unused:
        cfg.notes = [*cfg.get("notes", []), f"{', '.join(unused)}: no effect, because the student trains alone"]


def is_yaml(path: str) -> bool:
    """Return whether the file name is that of a YAML config."""
    return Path(path).suffix in (".yaml", ".yml")


def split_overrides(opts: list[str]) -> tuple[list[str], list[str]]:
    """Split overrides into Detectron2's (a key in capitals and a value) and ours (`key=value`).

    Raises:
        UserError: if a key in capitals has no value, or "=" before it.
    """
    capitals: list[str] = []
    ours: list[str] = []
    rest = iter(opts)
    for word in rest:
        key, equals, value = word.partition("=")
        if not key.split(".")[0].isupper():
            ours.append(word)
            continue
        if equals:
            raise UserError(f"override '{word}': write {key} {value or 'VALUE'}, with a space; = is for keys of ours")
        given = next(rest, None)
        if given is None or _OURS.match(given):
            raise UserError(f"override '{word}' has no value: write {word} VALUE")
        capitals += [word, given]
    return capitals, ours


def teacher_node(config: str, weights: str | None = None, project: str | None = None) -> DictConfig:
    """Return the config node of a teacher: a config's model with its weights.

    Args:
        config: a LazyConfig, a YAML file, or a name in Detectron2's zoo.
        weights: a checkpoint. If None: for a name in the zoo, the zoo's weights; for a YAML file, its MODEL.WEIGHTS;
            for a LazyConfig, the final checkpoint in `train.output_dir`, or its `teacher = dict(weights=...)`.
        project: the Python file of the YAML config's project.

    Raises:
        UserError: if the config does not exist, or no weights are known.
    """
    if not config:
        raise UserError("--teacher is empty: name a config, or leave it out")
    if is_yaml(config):
        model = L(yaml_model)(config=config, opts=[], extend=[], project=project)
        of_zoo = find_yaml(config)[1]
        weights = weights or (_zoo_weights(config) if of_zoo else read_cfg(config, project=project).MODEL.WEIGHTS)
        return L(load_teacher)(model=model, weights=_require(weights, config))
    if not Path(config).is_file():
        return _lazy_zoo_teacher(config, weights)
    cfg = complete(load_lazy(config))
    image_format = OmegaConf.select(cfg, "dataloader.train.mapper.image_format")
    weights = weights or _trained_weights(cfg)
    return L(load_teacher)(model=cfg.model.student, weights=_require(weights, config), input_format=image_format)


def _lazy_zoo_teacher(config: str, weights: str | None) -> DictConfig:
    try:
        path = find_lazy(config)
    except UserError as error:
        raise UserError(f"--teacher: '{config}' is neither a file nor a name in Detectron2's zoo") from error
    cfg = load_lazy(path)
    if "model" not in cfg:
        raise UserError(f"--teacher: {path} defines no model")
    return L(load_teacher)(model=cfg.model, weights=_require(weights or _zoo_weights(config), config))


def _zoo_weights(config: str) -> str | None:
    try:
        return model_zoo.get_checkpoint_url(config)
    except RuntimeError:  # a config of the zoo without published weights
        return None


def _trained_weights(cfg: DictConfig) -> str | None:
    trained = Path(cfg.train.output_dir) / "model_final.pth"
    return str(trained) if trained.is_file() else cfg.get("teacher", {}).get("weights")


def _require(weights: str | None, config: str) -> str:
    if not weights:
        raise UserError(f"--teacher {config}: no trained weights are known; name them by --teacher-weights")
    return weights


def _choose_method(cfg: DictConfig, method: str | None, of_flags: bool) -> None:
    """Replace the config's points by the method's.

    Without a method, DiffKD serves a config that names a teacher but no `points`, and a student without points whose
    teacher comes from the command line (`of_flags`).
    """
    has_teacher = bool(cfg.model.get("teacher"))
    points = cfg.model.get("points")
    if method is None and has_teacher and (points is None or (of_flags and not points)):
        method = DEFAULT_METHOD
    if method is None:
        return
    if method != ALONE:
        find_recipes(method)
    if method == ALONE or not has_teacher:
        cfg.model.teacher, cfg.model.points = None, []
    else:
        cfg.model.points = recipe_points(method)


def recipe_points(method: str) -> DictConfig:
    """Return the node of the points that a method such as "pkd" or "diffkd+kd" chooses for two models."""
    return L(AutoPoints)(recipe=L(find_recipes)(method=method), where=None, levels=None, weight=None)
