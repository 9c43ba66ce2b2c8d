"""Load the weights of a run (its last checkpoint or initial weights) or of an evaluation."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from detectron2.utils import comm
from omegaconf import DictConfig, OmegaConf

from ..checkpoint.checkpointer import Checkpointer, entries, require_all_keys
from ..checkpoint.run_folder import claim_folder, clear_folder
from ..errors import UserError
from ..meta_arch.distilled_model import DistilledModel
from ..modeling.teacher import inherit
from .optimizer import images_per_step
from .preflight import warn_of_random_weights
from .resume import cut_metrics
from .trainer import Trainer

logger = logging.getLogger(__name__)


def claim_output_folder(cfg: DictConfig, resume: bool, dry_run: bool = False) -> None:
    """Claim `train.output_dir` for a run, new or resumed; see `claim_folder`.

    Raises:
        UserError: as `claim_folder`, or if `train.device` is not there.
    """
    texts = [text.partition("?")[0] for text in _texts(OmegaConf.to_container(cfg, resolve=False))]
    reads = [text for text in texts if text.endswith(".pth")]
    device = device_name(cfg.train.device)
    claim_folder(cfg.train.output_dir, resume, cfg.train.get("overwrite", False), reads, dry_run, device)


def device_name(device: str) -> str:
    """Return "CPU" or the name of a GPU; raise UserError if it is not there."""
    if device == "cpu":
        return "CPU"
    if (torch.device(device).index or 0) >= torch.cuda.device_count():
        raise UserError(f"train.device is '{device}', but this machine has {torch.cuda.device_count()} GPU(s)")
    return torch.cuda.get_device_name(device)


def _texts(node: Any) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    elif isinstance(node, dict | list):
        for value in node.values() if isinstance(node, dict) else node:
            yield from _texts(value)


def run_settings(cfg: DictConfig, schedule: Any, model: DistilledModel) -> dict[str, Any]:
    """Return the settings that no checkpoint restores; a resumed run uses the config's."""
    train = cfg.train
    distill = ("weight", "balance", "start_iter", "warmup_iters", "stop_iter")
    data = _options(OmegaConf.to_container(cfg.dataloader.train, resolve=True), "dataloader.train")
    points: Any = OmegaConf.to_container(cfg.model.points, resolve=True)
    listed = isinstance(points, list)
    nodes = {f"model.points.{i}": node for i, node in enumerate(points)} if listed else {"model.points": points}
    return {
        "train.max_iter": train.max_iter,
        "the schedule at each tenth": ", ".join(f"{schedule(i / 10):.6g}" for i in range(10)),
        "the number of images per step": images_per_step(cfg),
        "the number of processes": comm.get_world_size(),
        "train.clip_norm": train.clip_norm,
        "train.amp.dtype": train.amp.dtype,
        "train.ema_decay": train.ema_decay,
        **{f"distill.{name}": cfg.distill.get(name) for name in distill},
        **{f"the weight of point {point.name}": point.weight for point in model.points},
        **{k: v for path, node in nodes.items() for k, v in _options(node, path).items() if k != f"{path}.weight"},
        **{k: v for k, v in data.items() if k.rpartition(".")[-1] not in ("num_workers", "total_batch_size")},
        **{f"the sha256 of teacher {i}": teacher.weights_sha256 for i, teacher in enumerate(model.teachers)},
    }


def _options(node: Any, path: str) -> dict[str, Any]:
    """Return key in the config -> value, for each option of the calls in a dict; a list is one option, as text."""
    if isinstance(node, dict):
        return {key: value for name in node for key, value in _options(node[name], f"{path}.{name}").items()}
    value = _plain(node)
    return {path: str(value) if isinstance(value, list) else value}


def _plain(value: Any) -> Any:
    """Replace what a checkpoint cannot hold, such as functions, by names."""
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return getattr(value, "__name__", type(value).__name__)


def load_weights(
    cfg: DictConfig, model: DistilledModel, checkpointer: Checkpointer, trainer: Trainer, resume: bool
) -> int:
    """Load the run's last checkpoint or initial weights; return the first iteration.

    Raises:
        UserError: if a file cannot be read or does not fit, or there is no teacher to inherit from.
    """
    if resume and checkpointer.resume():
        start = trainer.iter + 1
        if start >= cfg.train.max_iter:
            done = f"{start} iterations are done, train.max_iter is {cfg.train.max_iter}"
            logger.warning(f"--resume: {done}: nothing is left to train, the student is evaluated again")
        return start
    init, prefix = cfg.train.init_checkpoint, cfg.train.get("init_prefix") or ""
    if prefix and not init:
        raise UserError(f"train.init_prefix is '{prefix}', but train.init_checkpoint is empty")
    checkpointer.load(init, checkpointables=[], prefix=prefix)
    inherited = entries(cfg.train.inherit, "train.inherit")
    if inherited:
        if not model.teachers:
            raise UserError(f"train.inherit is {inherited}, but there is no teacher to inherit from")
        inherit(model.student, model.teachers[0], inherited)
    warn_of_random_weights(init, model.student)
    return 0


def start_folder(cfg: DictConfig, resume: bool) -> None:
    """Remove files of an overwritten run, or of one that ended before its first checkpoint, from the output folder."""
    if comm.is_main_process():
        if cfg.train.get("overwrite") and not resume:
            clear_folder(cfg.train.output_dir)
        cut_metrics(Path(cfg.train.output_dir) / "metrics.json", -1)


def load_for_evaluation(checkpointer: Checkpointer, path: str, expected_missing: Sequence[str] | str = ()) -> None:
    """Load the weights to be evaluated, and require every key.

    Args:
        checkpointer: checkpointer of the model.
        path: the checkpoint. If "", the last one in the output folder.
        expected_missing: prefixes of keys that may be missing, unexpected or of another shape.

    Raises:
        UserError: if there is no checkpoint, a key does not fit, or the checkpoint's classes differ from the data's.
    """
    if not path and checkpointer.has_checkpoint():
        path = checkpointer.get_checkpoint_file()
    if not path:
        raise UserError(f"nothing to evaluate: no train.init_checkpoint, no checkpoint in {checkpointer.save_dir}")
    checkpointer.load(path)  # this also compares the classes
    require_all_keys(checkpointer.incompatible, path, expected_missing)
