"""Whatever can be known before the first step is checked here, before it."""

import itertools
import logging
import os
import random
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from detectron2.data import DatasetCatalog
from detectron2.modeling.meta_arch.dense_detector import DenseDetector
from detectron2.utils.events import EventStorage
from omegaconf import DictConfig, OmegaConf
from torch import nn

from ..data.loaders import instantiate_loader
from ..errors import UserError, nearest
from ..meta_arch.distilled_model import DistilledModel

logger = logging.getLogger(__name__)


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


def check_points(model: DistilledModel, loader: Iterable[Any]) -> Iterable[Any]:
    """Run the first batch without a gradient, so that a pair that does not fit ends the run before it starts.

    The teachers run to their end, as they do not in training. The state of the random generators, the buffers of the
    model and the running normalizer of Detectron2's dense detectors are as before.

    Returns:
        what to train on: a loader that can start at any position stays as it is; other loaders continue from the batch
        after the first. (Restarting them would lose AspectRatioGroupedDataset's half-filled groups, and v0.6 then
        never yields again.)

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
