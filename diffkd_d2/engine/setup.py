"""Start-up: configs, processes, data and the report of what is about to train."""

import gc
import inspect
import itertools
import logging
import os
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from detectron2.config import LazyConfig
from detectron2.data import DatasetCatalog
from detectron2.modeling.meta_arch.dense_detector import DenseDetector
from detectron2.utils import comm
from detectron2.utils.events import EventStorage
from detectron2.utils.registry import locate
from omegaconf import DictConfig, ListConfig, OmegaConf
from torch import nn
from torch.distributed.rendezvous import rendezvous

from ..data.loaders import instantiate_loader
from ..distilled_model import DistilledModel
from ..errors import UserError, nearest
from .overrides import require_data

logger = logging.getLogger(__name__)


def load_config(path: str, overrides: list[str]) -> DictConfig:
    """Load a LazyConfig and apply `key=value` overrides.

    A key is one that the config has, or a keyword of what a LazyCall calls; `+key=value` adds any other. The file is
    Python and runs; an override is data and can run nothing: see `overrides.py`.

    Raises:
        UserError: if the file is not there or no Python, an override is no `key=value` or not data, or its key does
            not exist.
    """
    if not Path(path).is_file():
        raise UserError(f"no config file '{path}'")
    if not path.endswith(".py"):
        raise UserError(f"'{path}' is no LazyConfig, which is a .py file (Detectron2 would run code from a YAML one)")
    cfg = LazyConfig.load(path)
    for override in overrides:
        key, equals, _ = override.partition("=")
        if not equals:
            raise UserError(f"override '{override}' is not of the form key=value")
        require_data(override)
        if not key.startswith("+"):
            _require_key(cfg, key)
    try:
        return LazyConfig.apply_overrides(cfg, [o.removeprefix("+") for o in overrides])
    except Exception as error:  # hydra's parser and omegaconf each raise their own kinds
        raise UserError(f"cannot apply overrides: {str(error).splitlines()[0]}") from error


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


def check_gpus(wanted: int) -> None:
    """Check `--num-gpus` before any process is started; 1 on a machine without a GPU means its CPU.

    Raises:
        UserError: if more GPUs are asked for than there are.
    """
    available = torch.cuda.device_count()
    if wanted > max(available, 1):
        raise UserError(f"--num-gpus {wanted}, but this machine has {available}")


def join_torchrun() -> None:
    """Join the process group that torchrun describes in the environment: nccl on GPUs, gloo without."""
    local_rank, local_world = int(os.environ["LOCAL_RANK"]), int(os.environ["LOCAL_WORLD_SIZE"])
    use_cuda = torch.cuda.device_count() >= local_world
    if use_cuda:
        torch.cuda.set_device(local_rank)
    # After a restart, torchrun's store still holds the addresses of the processes that have died.
    store, rank, world = next(rendezvous("env://"))
    store = dist.PrefixStore(f"attempt_{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", store)
    dist.init_process_group("nccl" if use_cuda else "gloo", store=store, rank=rank, world_size=world)
    # Detectron2 wants a group per machine, and v0.6 sets it only inside its own launch().
    for first in range(0, world, local_world):
        ranks = list(range(first, first + local_world))
        group = dist.new_group(ranks)
        if rank in ranks:
            comm._LOCAL_PROCESS_GROUP = group


def join_machines(num_machines: int, machine_rank: int, dist_url: str) -> None:
    """Join one process on each of several machines without GPUs, as `--num-machines` describes them.

    Raises:
        UserError: if `dist_url` is no tcp://ADDRESS:PORT.
    """
    address, _, port = dist_url.removeprefix("tcp://").rpartition(":")
    if not dist_url.startswith("tcp://") or not address or not port.isdigit():
        raise UserError(f"--dist-url is '{dist_url}', expected tcp://ADDRESS:PORT of the first machine")
    os.environ.update(MASTER_ADDR=address, MASTER_PORT=port, RANK=str(machine_rank), WORLD_SIZE=str(num_machines))
    os.environ.update(LOCAL_RANK="0", LOCAL_WORLD_SIZE="1")
    join_torchrun()


def leave_group() -> None:
    """End the process group, with its threads; the other processes need not be at their end.

    gloo's thread lets go of a collective's tensors after the collective has returned. Where Python is already ending by
    then, the whole process aborts (exit code -6), and torchrun or SLURM takes a finished run for a failed one. A thread
    ends with the last reference to its group, and Detectron2 holds two.
    """
    comm._LOCAL_PROCESS_GROUP = None
    comm._get_global_gloo_group.cache_clear()
    dist.destroy_process_group()
    gc.collect()  # DistributedDataParallel refers to its group, and a trainer to itself


def build_loader(node: DictConfig) -> Any:
    """Instantiate a data loader.

    Raises:
        UserError: if a dataset is unknown, its files are not there (the line names the folder and the variable), or
            a package is missing that reads it.
    """
    root = os.environ.get("DETECTRON2_DATASETS", "datasets")
    try:
        return instantiate_loader(node)
    except FileNotFoundError as error:
        where = error.filename or str(error)
        raise UserError(f"dataset: {where} is not there (DETECTRON2_DATASETS is '{root}')") from error
    except ModuleNotFoundError as error:  # Detectron2 reads Cityscapes' polygons with shapely
        raise UserError(f"dataset: its loader needs {error.name}: pip install {error.name}") from error
    except AssertionError as error:  # Detectron2's loaders say so where files must be made first
        raise UserError(f"dataset: {error} (DETECTRON2_DATASETS is '{root}')") from error
    except KeyError as error:
        if "is not registered" not in str(error):
            raise
        wanted = [name for name in _names(node) if name not in DatasetCatalog.list()]
        raise UserError(f"unknown dataset {wanted}{nearest(str(wanted[0]), DatasetCatalog.list())}") from error


def check_image_format(node: DictConfig, model: nn.Module) -> None:
    """Compare the channel order that the loader reads with the model's; a model that states none gets the loader's.

    Raises:
        UserError: where they differ.
    """
    wanted, read = getattr(model, "input_format", None), OmegaConf.select(node, "mapper.image_format")
    if wanted and read and wanted != read:
        raise UserError(f"the model wants {wanted} images, mapper.image_format is {read}")
    if read and not wanted:  # FCOS, SemanticSegmentor: a teacher needs to know in which order its inputs come
        model.input_format = read


def try_points(model: DistilledModel, loader: Iterable[Any]) -> Iterable[Any]:
    """Run the first batch without a gradient, so that a pair that does not fit ends the run before it starts.

    The teachers run to their end, as they do not in training. The state of the random generators, the buffers of the
    model and the running normalizer of Detectron2's dense detectors are as before.

    Returns:
        what to train on: a loader that can be begun at any position as it is, of any other the batches from the
        first one on. (Beginning such a one anew is no way: the half-filled groups of Detectron2's
        AspectRatioGroupedDataset outlive its iterator, and v0.6 then never yields again.)

    Raises:
        UserError: from the first point that does not fit.
    """
    if not model.points:
        return loader
    batches = iter(loader)
    first = next(batches)
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    normalizers = [(m, vars(m).get("loss_normalizer")) for m in model.modules() if isinstance(m, DenseDetector)]
    states = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(), torch.no_grad(), EventStorage(), model.whole_teachers():
        model.train()(first)
    random.setstate(states[0])
    np.random.set_state(states[1])
    for buffer, before in buffers:
        buffer.copy_(before)
    for module, normalizer in normalizers:
        vars(module).pop("loss_normalizer", None)
        if normalizer is not None:
            module.loss_normalizer = normalizer
    model.metrics = {}
    return loader if hasattr(loader, "start") else itertools.chain([first], batches)


def warn_of_random_weights(init_checkpoint: str, student: nn.Module) -> None:
    """Warn where a student without `train.init_checkpoint` has frozen parameters: they stay as they were drawn."""
    frozen = sum(p.numel() for p in student.parameters() if not p.requires_grad)
    if frozen and not init_checkpoint:
        logger.warning(
            f"{frozen} parameters of the student are frozen, and train.init_checkpoint is empty: unless the model "
            "loads weights itself, they stay random (a YAML config's MODEL.WEIGHTS is not read)"
        )


def _names(node: DictConfig) -> list[str]:
    names = OmegaConf.select(node, "dataset.names", default=[])
    return [names] if isinstance(names, str) else list(names)


def log_parameters(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Log, per part of the model, how many parameters it has and how many are in the optimizer, and its groups."""
    in_optimizer = {id(p) for group in optimizer.param_groups for p in group["params"]}
    for name, part in (("student", model.student), ("distillers", model.points)):
        params = list(part.parameters())
        trained = sum(p.numel() for p in params if id(p) in in_optimizer)
        total = sum(p.numel() for p in params)
        logger.info(f"{name}: {total / 1e6:.2f} M parameters, {trained / 1e6:.2f} M of them in the optimizer")
    groups: dict[tuple[float, float], int] = {}
    for group in optimizer.param_groups:
        key = (group["lr"], group.get("weight_decay", 0.0))
        groups[key] = groups.get(key, 0) + sum(p.numel() for p in group["params"])
    for (lr, decay), count in groups.items():
        logger.info(f"optimizer group: lr {lr:g}, weight decay {decay:g}, {count / 1e6:.2f} M parameters")
