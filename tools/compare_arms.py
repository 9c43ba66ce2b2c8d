"""The arms of a comparison: a name and arguments of train_net.py."""

import hashlib
import inspect
import json
import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from detectron2.utils.registry import locate
from omegaconf import DictConfig, ListConfig, OmegaConf

from diffkd_d2.checkpoint.files import file_sha256
from diffkd_d2.data.loaders import dataset_names
from diffkd_d2.engine.config import argument_parser, parse_arguments
from diffkd_d2.engine.evaluators import test_set_name
from diffkd_d2.engine.pair import configure
from diffkd_d2.errors import UserError
from diffkd_d2.modeling.yaml_model import read_cfg

ALONE, MIMIC, LONGER = "alone", "mimic", "alone-longer"
# compare.py gives these to every run itself, so no command line of an arm may.
_OURS = ("train.seed=", "train.output_dir=")
_OURS_IN_YAML = ("SEED", "OUTPUT_DIR")
_NOT_TRAINING = ("--resume", "--eval-only", "--eval-teacher", "--dry-run")


hash_once = cache(file_sha256)  # arms name the same weights


@dataclass(frozen=True)
class Arm:
    """One way to train the student: `words` follow those that all arms share on train_net.py's command line."""

    name: str
    words: tuple[str, ...]


def parse_arms(methods: str, own: list[str]) -> list[Arm]:
    """Return the arms that `--methods a,b` and `--arm NAME=OVERRIDES` name, in this order.

    Raises:
        UserError: if there is none, a name repeats, is reserved or cannot be a folder's, or an `--arm` is not
            NAME=OVERRIDES.
    """
    arms = [Arm(name, _words_of_method(name)) for name in filter(None, map(str.strip, methods.split(",")))]
    for text in own:
        name, equals, overrides = text.partition("=")
        if not equals:
            raise UserError(f"--arm '{text}' is not of the form NAME=OVERRIDES; NAME= is the config as it is")
        if name in (ALONE, LONGER, "teacher"):
            raise UserError(f"--arm '{text}': the name {name} has a meaning of its own here, choose another")
        try:
            arms.append(Arm(name, tuple(shlex.split(overrides))))
        except ValueError as error:
            raise UserError(f"--arm '{text}': {error}") from error
        refuse_own_words(arms[-1].words)
    names = [arm.name for arm in arms]
    if not arms:
        raise UserError("nothing to compare: name --methods or --arm")
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"two arms have the name '{name}'")
        if not re.fullmatch(r"[\w][\w.+-]*", name):
            raise UserError(f"an arm's results are in a folder of its name, which '{name}' cannot be")
    return arms


def refuse_own_words(words: Sequence[str]) -> None:
    """Raise UserError if words of train_net.py's command line are what compare.py decides itself."""
    for word in words:
        if any(flag.startswith(word) for flag in _NOT_TRAINING) and len(word) > 2:  # argparse takes abbreviations
            raise UserError(f"{word} is not for compare.py, which trains, resumes and evaluates by itself")
        if word.lstrip("+").startswith(_OURS) or word in _OURS_IN_YAML:
            raise UserError(f"{word}: compare.py sets it itself, by --seeds and --output")


def _words_of_method(name: str) -> tuple[str, ...]:
    return ("model.points=[]",) if name in (ALONE, LONGER) else ("--method", name)


def load_arm(words: list[str]) -> DictConfig:
    """Return the config that train_net.py makes of these words."""
    return configure(parse_arguments(argument_parser(), words))


def evaluator_nodes(cfg: DictConfig) -> dict[str, DictConfig]:
    """Return the config's evaluators by their keys, of which there may be several."""
    node = cfg.dataloader.get("evaluator")
    if isinstance(node, DictConfig):
        return {"dataloader.evaluator": node}
    return {f"dataloader.evaluator.{i}": n for i, n in enumerate(node or ())}


def predictions_kept(cfg: DictConfig, folder: Path) -> list[str]:
    """Return overrides that make the evaluators write the predictions of every image to `folder`."""
    nodes = evaluator_nodes(cfg).items()
    return [f"{key}.output_dir={quoted(folder)}" for key, node in nodes if keeps_predictions(node)]


def keeps_predictions(node: DictConfig) -> bool:
    """Return whether an evaluator can write predictions to an `output_dir`."""
    target = locate(node._target_) if isinstance(node._target_, str) else node._target_
    return "output_dir" in inspect.signature(target).parameters


def choose_last_test_set(cfg: DictConfig) -> str:
    """Keep only the last of several test sets, whose predictions stay on disk; return the prefix of its tasks."""
    loaders = cfg.dataloader
    if isinstance(loaders.get("test"), ListConfig):
        several = len(loaders.test) > 1
        loaders.test, loaders.evaluator = loaders.test[-1], loaders.evaluator[-1]
        return f"{test_set_name(loaders.test)}/" if several else ""
    names = OmegaConf.select(cfg, "dataloader.test.dataset.names")
    if not isinstance(names, ListConfig):
        return ""
    several, cfg.dataloader.test.dataset.names = len(names) > 1, names[-1]
    return f"{cfg.dataloader.test.dataset.names}/" if several else ""


def quoted(path: Path) -> str:
    """Quote a path as the value of an override."""
    return json.dumps(str(path), ensure_ascii=False)


def test_sets(cfg: DictConfig) -> list[str]:
    """Return the names of the datasets that a config evaluates on."""
    nodes: Any = OmegaConf.select(OmegaConf.create(cfg), "dataloader.test") or []
    return [name for node in (nodes if isinstance(nodes, ListConfig) else [nodes]) for name in dataset_names(node)]


def config_hash(cfg: DictConfig) -> str:
    """Return a hash of a config, of the YAML configs in it, and of the files that it names, such as weights."""
    digest = hashlib.sha256()

    def add(value: Any) -> None:
        if isinstance(value, dict):
            if {"config", "opts", "extend", "project"} <= set(value):
                digest.update(
                    read_cfg(**{k: value[k] for k in ("config", "opts", "extend", "project")}).dump().encode()
                )
            for key in sorted(value, key=str):
                digest.update(f"{key}:".encode())
                add(value[key])
        elif isinstance(value, list | tuple):
            digest.update(f"{len(value)} of".encode())
            for item in value:
                add(item)
        elif isinstance(value, str) and os.path.isfile(value):
            digest.update(hash_once(value).encode())  # wherever it lies
        else:
            digest.update(f"{getattr(value, '__qualname__', None) or _plain(value)};".encode())

    add(OmegaConf.to_container(OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "notes"]), resolve=False))
    return digest.hexdigest()


def _plain(value: Any) -> str:
    return repr(value) if isinstance(value, str | int | float | None) else type(value).__qualname__
