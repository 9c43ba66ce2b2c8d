"""Detectron2's loaders with checked records, mappers whose errors name the image, and a training stream by position."""

from .. import _detectron2  # noqa: F401

# isort: split

from collections import Counter
from typing import Any

from detectron2.config import instantiate
from detectron2.data import (
    DatasetCatalog,
    DatasetFromList,
    MetadataCatalog,
    build_detection_test_loader,
    build_detection_train_loader,
)
from detectron2.utils.registry import locate
from omegaconf import DictConfig, OmegaConf

from ..errors import UserError
from .annotations import NamedErrors, clean_records, warn_of_boxes
from .coco_json import checked_json
from .images import check_images
from .label_maps import check_label_maps, label_range
from .stream import PositionedLoader
from .targets import complete_targets


def instantiate_loader(node: DictConfig) -> Any:
    """Instantiate the config of a loader; what is not Detectron2's, or not made of dataset dicts, is left as it is.

    A loader of dataset dicts has them as `records`, and the names of their classes as `class_names`: lists under
    "things" and "stuff", as far as the dataset's metadata has them. One of training data has as `left_out` what
    `clean_records` has counted.

    Raises:
        UserError: if a COCO json, an image or a label map does not hold what it must, as far as a look at a sample
            shows; see `coco_json.py`, `targets.py`, `images.py` and `label_maps.py`.
    """
    target = node.get("_target_")
    target = locate(target) if isinstance(target, str) else target
    if target not in (build_detection_train_loader, build_detection_test_loader):
        with checked_json():
            return instantiate(node)
    mapper = instantiate(node.get("mapper"))
    masks = getattr(mapper, "use_instance_mask", True)
    names = dataset_names(node)
    with checked_json(masks):
        try:
            options = {str(key): instantiate(value) for key, value in node.items() if key not in ("_target_", "mapper")}
        except ValueError as error:
            if "different metadata" in str(error):  # Detectron2's, of several datasets
                _require_one_list(names)
            raise
    options["mapper"] = mapper
    if not isinstance(options.get("dataset"), list) or mapper is None:
        return target(**options)

    _require_one_list(names)
    labels = label_range(names)
    records = options.pop("dataset")
    _look_at(records, names, labels)
    options["mapper"] = NamedErrors(mapper, labels)
    loader: Any
    if target is build_detection_test_loader:
        dataset = DatasetFromList(records, copy=False)
        loader = target(dataset=dataset, **options)
        loader.records = dataset
    else:
        left_out: Counter[str] = Counter()
        records = clean_records(records, masks, left_out)
        complete_targets(records, mapper, " + ".join(names))
        seeded_by_config = options.get("sampler") is not None and node.sampler.get("seed") is not None
        loader = PositionedLoader(records, seed_sampler=not seeded_by_config, **options)
        loader.left_out = left_out
    loader.class_names = _class_names(names[0]) if names else {}
    return loader


def dataset_names(node: DictConfig) -> list[str]:
    """Return the names of the registered datasets that the config of a loader reads; none where it does not say."""
    names = OmegaConf.select(node, "dataset.names", default=None) or []
    return [names] if isinstance(names, str) else list(names)


def _look_at(records: list[dict[str, Any]], names: list[str], labels: Any) -> None:
    name = " + ".join(names) or "a dataset without a name"
    warn_of_boxes(records, name)
    check_images(records, name)
    check_label_maps(records, labels, name)


def _class_names(name: str) -> dict[str, list[str]]:
    metadata = MetadataCatalog.get(name) if name in DatasetCatalog.list() else {}
    lists = {kind: metadata.get(key) for kind, key in (("things", "thing_classes"), ("stuff", "stuff_classes"))}
    return {kind: list(classes) for kind, classes in lists.items() if classes}


def _require_one_list(names: list[str]) -> None:
    """Raise UserError where several datasets of one loader have different classes."""
    for name in names[1:]:
        first, other = _class_names(names[0]), _class_names(name)
        for kind in first.keys() & other.keys():
            if first[kind] != other[kind]:
                raise UserError(f"the classes differ: {names[0]} has {first[kind]}, {name} has {other[kind]}")
