"""Build and try test loaders and evaluators before the first step."""

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from detectron2.config import instantiate
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation import (
    COCOEvaluator,
    DatasetEvaluator,
    DatasetEvaluators,
    PascalVOCDetectionEvaluator,
    SemSegEvaluator,
)
from detectron2.evaluation.cityscapes_evaluation import CityscapesEvaluator
from detectron2.utils import comm
from detectron2.utils.registry import locate
from omegaconf import DictConfig, ListConfig
from torch import nn

from ..data.coco_json import checked_evaluator_json
from ..data.images import require_files, sample
from ..data.label_maps import ReadableLabelMaps
from ..data.loaders import dataset_names
from ..errors import ProjectError, UserError, nearest
from ..evaluation.trial import try_evaluator
from ..evaluation.trial_datasets import cityscapes_truth
from .class_lists import class_names
from .loaders import build_loader, check_image_format

logger = logging.getLogger(__name__)


class EvaluationSet(NamedTuple):
    """A test set: its name ("" if the config has none), its loader and its evaluators."""

    name: str
    loader: Any
    evaluators: list[DatasetEvaluator]


def build_test_sets(cfg: DictConfig, model: nn.Module) -> list[EvaluationSet]:
    """Build and try the loader and the evaluators of each test set.

    The test sets are those in `dataloader.test.dataset.names`. The evaluators of a set are `dataloader.evaluator`, one
    or a list. If they take `dataset_name` from `${..test.dataset.names}`, as in the shipped configs, each set has its
    own. If `dataloader.test` is a list, each entry is a test set, and `dataloader.evaluator` has one entry for each.
    Without a test set or an evaluator nothing is evaluated: the log says so, and the list is empty.

    Args:
        cfg: the run's config.
        model: the model to be evaluated; the loaders must read images in its channel order.

    Raises:
        UserError: if data, files or packages are missing, two test sets have one name, or an evaluator fails on a
            sample of its data.
    """
    node = cfg.dataloader
    missing = [key for key in ("test", "evaluator") if not node.get(key)]
    if missing:
        keys = " and no ".join(f"dataloader.{key}" for key in missing)
        logger.warning(f"nothing is evaluated: the config has no {keys} (of a YAML config: DATASETS.TEST is empty)")
        return []
    if isinstance(node.test, ListConfig):
        return _build_listed_sets(node, model)
    check_image_format(node.test, model)
    names = dataset_names(node.test)
    _require_unique(names)
    if not names:
        return [_build_test_set("", node)]
    listed, sets = node.test.dataset.names, []
    try:
        for name in names:
            node.test.dataset.names = name
            sets.append(_build_test_set(name, node))
    finally:
        node.test.dataset.names = listed
    return sets


def loaders_by_name(sets: Sequence[EvaluationSet]) -> dict[str, Any]:
    """Return the loaders by their names in error messages."""
    return {f"the test data {name}".rstrip(): loader for name, loader, _ in sets}


def _build_listed_sets(node: DictConfig, model: nn.Module) -> list[EvaluationSet]:
    if not isinstance(node.evaluator, ListConfig):
        raise UserError("dataloader.test is a list of test sets, so dataloader.evaluator must have one entry for each")
    if len(node.test) != len(node.evaluator):
        raise UserError(f"dataloader: {len(node.test)} test sets, {len(node.evaluator)} evaluators")
    sets = []
    for test, evaluator in zip(node.test, node.evaluator, strict=True):
        check_image_format(test, model)
        name, loader = test_set_name(test), build_loader(test)
        sets.append(EvaluationSet(name, loader, _build_evaluators(evaluator, loader, name)))
    _require_unique([test_set.name for test_set in sets])
    return sets


def test_set_name(node: DictConfig) -> str:
    """Return the name under which the results of a test loader in a list of them are kept."""
    return node.get("dataset_name") or "+".join(dataset_names(node))


def _require_unique(names: Sequence[str]) -> None:
    """Raise UserError if two test sets have one name, under which only one result would remain."""
    twice = [name for i, name in enumerate(names) if name in names[:i]]
    if twice:
        raise UserError(f"dataloader.test: two test sets have the name '{twice[0]}', and results are kept by name")


def _build_test_set(name: str, node: DictConfig) -> EvaluationSet:
    loader = build_loader(node.test)
    nodes = node.evaluator if isinstance(node.evaluator, ListConfig) else [node.evaluator]
    evaluators = [part for evaluator in nodes for part in _build_evaluators(evaluator, loader, name)]
    _require_different_tasks(evaluators)
    return EvaluationSet(name, loader, evaluators)


def _build_evaluators(node: DictConfig, loader: Any, name: str) -> list[DatasetEvaluator]:
    """Build and try the evaluator of a node; return it, or the parts of a `DatasetEvaluators`, in a list."""
    judged = node.get("dataset_name")
    what = f"evaluator {_target_name(node)}{f' of {judged}' if judged else ''}"
    if judged is not None and judged not in DatasetCatalog.list():
        raise UserError(f"{what}: there is no such dataset{nearest(str(judged), DatasetCatalog.list())}")
    with one_line_evaluator(
        what, is_shipped(locate(node._target_) if isinstance(node._target_, str) else node._target_)
    ):
        _forget_converted(node)
        parts = instantiate_evaluator(node)
        for part in parts:
            _check_images(part, loader, name)
            _check_classes(part, loader, name)
            logger.info(f"{what}: {try_evaluator(part)}")
    return parts


def instantiate_evaluator(node: DictConfig) -> list[DatasetEvaluator]:
    """Return the evaluator of a node, or the parts of a `DatasetEvaluators`; its COCO json and label maps are checked.

    Raises:
        UserError: if a COCO json is invalid, or a label map is missing.
    """
    with checked_evaluator_json():
        evaluator = instantiate(node)
    parts = evaluator._evaluators if type(evaluator) is DatasetEvaluators else [evaluator]
    for part in parts:
        label_maps = getattr(part, "input_file_to_gt_file", None)  # SemSegEvaluator's
        if label_maps is not None:
            require_files(label_maps.values(), "label maps")
            part.input_file_to_gt_file = ReadableLabelMaps(label_maps)
    return parts


def _forget_converted(node: DictConfig) -> None:
    """Remove the json that an earlier run made of a dataset without one; the dataset may have changed since."""
    folder, name = node.get("output_dir"), node.get("dataset_name")
    if folder and name and comm.is_main_process() and not hasattr(MetadataCatalog.get(name), "json_file"):
        for path in Path(folder).rglob(f"{name}_coco_format.json"):
            path.unlink()
    comm.synchronize()


def _require_different_tasks(evaluators: Sequence[Any]) -> None:
    """Raise UserError if two of Detectron2's or our evaluators report one task, which Detectron2 rejects at the end."""
    shipped = [e for e in evaluators if is_shipped(type(e))]
    tasks = [task for e in shipped for task in getattr(e, "_tasks", None) or [type(e).__name__]]
    twice = [task for i, task in enumerate(tasks) if task in tasks[:i]]
    if twice:
        raise UserError(f"dataloader.evaluator: two evaluators of one test set report '{twice[0]}'")


def _check_classes(evaluator: Any, loader: Any, name: str) -> None:
    """Raise UserError if the evaluator's dataset names other classes than the loader's."""
    if type(evaluator) is COCOEvaluator:
        categories = sorted(evaluator._coco_api.dataset.get("categories", []), key=lambda category: category["id"])
        own = evaluator._metadata.get("thing_classes") or [category["name"] for category in categories]
        read = class_names(loader).get("things")
    elif type(evaluator) in (SemSegEvaluator, PascalVOCDetectionEvaluator):
        kind = "stuff" if type(evaluator) is SemSegEvaluator else "things"
        own, read = evaluator._class_names, class_names(loader).get(kind)
    else:
        return
    if own and read and list(own) != read:
        # Panoptic-DeepLab's data has COCO's things, then its stuff, as classes of boxes, which are judged as things.
        is_start = type(evaluator) is COCOEvaluator and list(own) == read[: len(own)]
        if is_start and set(read[len(own) :]) <= set(class_names(loader).get("stuff", [])):
            return
        lists = [f"{', '.join(names[:20])}{' and others' if len(names) > 20 else ''}" for names in (own, read)]
        raise UserError(f"its classes are {lists[0]}; those of {name} are {lists[1]}")


def _check_images(evaluator: DatasetEvaluator, loader: Any, name: str) -> None:
    """Raise UserError if the evaluator does not know the loader's images."""
    if isinstance(evaluator, COCOEvaluator):
        known, key = evaluator._coco_api.imgs, "image_id"
    elif isinstance(getattr(evaluator, "input_file_to_gt_file", None), dict):
        known, key = evaluator.input_file_to_gt_file, "file_name"
    elif isinstance(evaluator, CityscapesEvaluator):
        _check_cityscapes(evaluator, loader, name)
        return
    else:
        return
    records = sample(getattr(loader, "records", ()), 100)
    unknown = [record for record in records if record.get(key) not in known]
    if unknown:
        raise UserError(
            f"it does not know {len(unknown)} of {len(records)} images of {name} looked at, such as "
            f"{unknown[0].get('file_name')} ({key} {unknown[0].get(key)}): is it of another dataset?"
        )


def _check_cityscapes(evaluator: Any, loader: Any, name: str) -> None:
    """Raise UserError unless the loader reads exactly the images with ground truth; cityscapesscripts needs all."""
    files = [os.path.basename(record["file_name"]) for record in getattr(loader, "records", ())]
    images, known = {file.rsplit("_leftImg8bit", 1)[0] for file in files}, set(cityscapes_truth(evaluator))
    if images and images != known:
        other = sorted(images - known or known - images)
        what = "no ground truth" if images - known else "ground truth that the test data lacks"
        raise UserError(f"{len(other)} images of {name} have {what}, such as {other[0]}: is it of another dataset?")


@contextmanager
def one_line_evaluator(what: str, shipped: bool) -> Iterator[None]:
    """Turn an evaluator's error into one line; errors in code that is not Detectron2's or ours keep their traceback."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{what}: {error}") from error
    except ModuleNotFoundError as error:
        raise UserError(f"{what} needs {error.name}: pip install {error.name}") from error
    except FileNotFoundError as error:
        raise UserError(f"{what}: {error.filename or error} is not there") from error
    except Exception as error:
        if isinstance(error, KeyError) and error.args == ("sem_seg_file_name",):
            raise UserError(f"{what}: the dataset has no label maps ('sem_seg_file_name')") from error
        if not shipped:
            raise ProjectError(f"{what}: {type(error).__name__}: {error}") from error
        raise UserError(f"{what}: {type(error).__name__}: {error}") from error


def is_shipped(evaluator_class: type) -> bool:
    """Return whether an evaluator is Detectron2's or ours, not code of a project."""
    return evaluator_class.__module__.partition(".")[0] in ("detectron2", "diffkd_d2")


def _target_name(node: DictConfig) -> str:
    target = node.get("_target_")
    return target.rsplit(".", 1)[-1] if isinstance(target, str) else getattr(target, "__name__", str(target))
