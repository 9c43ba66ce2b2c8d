"""Data loaders: built with errors of one line, and compared with the model that they feed."""

import os
from typing import Any

from detectron2.data import DatasetCatalog
from omegaconf import DictConfig, OmegaConf
from torch import nn

from ..data.loaders import instantiate_loader
from ..errors import UserError, nearest


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


def _names(node: DictConfig) -> list[str]:
    names = OmegaConf.select(node, "dataset.names", default=[])
    return [names] if isinstance(names, str) else list(names)
