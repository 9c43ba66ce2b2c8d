"""Build data loaders with one-line errors, and compare their channel order with the model's."""

import os
import re
from typing import Any

from detectron2.data import DatasetCatalog
from omegaconf import DictConfig, OmegaConf
from torch import nn

from ..data.loaders import instantiate_loader
from ..errors import ProjectError, UserError, nearest
from .build import explained, explained_errors


def build_loader(node: DictConfig) -> Any:
    """Instantiate a data loader.

    Raises:
        UserError: if a dataset is unknown or none is named, its files are missing (the line names the folder and the
            variable), a package that reads it is missing, or a library rejects an argument.
        ProjectError: if a project's code fails.
    """
    root = os.environ.get("DETECTRON2_DATASETS", "datasets")
    if OmegaConf.select(node, "dataset.names", default="some") in ([], ""):
        raise UserError("a loader's dataset.names is empty: name a registered dataset")
    with explained_errors("a loader"):
        try:
            return instantiate_loader(node)
        except FileNotFoundError as error:
            where = error.filename or str(error)
            raise UserError(f"dataset: {where} is not there (DETECTRON2_DATASETS is '{root}')") from error
        except ModuleNotFoundError as error:  # Detectron2 reads Cityscapes' polygons with shapely
            raise UserError(f"dataset: its loader needs {error.name}: pip install {error.name}") from error
        except AssertionError as error:  # Detectron2's loaders assert that prepared files exist
            is_path = re.fullmatch(r"\S*/\S+", str(error))
            if not str(error) or (not is_path and isinstance(explained(error, ""), ProjectError)):
                raise
            what = f"{error} is not there" if is_path else str(error)
            raise UserError(f"dataset: {what} (DETECTRON2_DATASETS is '{root}')") from error
        except KeyError as error:
            missing = re.search(r"'(.+?)' is not registered", str(error))
            if missing is None:
                raise
            raise UserError(f"unknown dataset '{missing[1]}'{nearest(missing[1], DatasetCatalog.list())}") from error


def check_image_format(node: DictConfig, model: nn.Module) -> None:
    """Compare the channel order of the loader with the model's. If the model states none, set the loader's.

    Raises:
        UserError: if they differ.
    """
    wanted, read = getattr(model, "input_format", None), OmegaConf.select(node, "mapper.image_format")
    if wanted and read and wanted != read:
        raise UserError(f"the model wants {wanted} images, mapper.image_format is {read}")
    if read and not wanted:  # FCOS, SemanticSegmentor: a teacher must know its input order
        model.input_format = read
