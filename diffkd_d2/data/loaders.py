"""Build Detectron2's loaders with checked records, errors that name the image, and a resumable training stream."""

from .. import _detectron2  # noqa: F401

# isort: split

from collections import Counter
from collections.abc import Sequence
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
from .annotations import MAX_ANNOTATIONS, NamedErrors, clean_records, warn_of_boxes
from .coco_json import checked_json
from .images import check_images
from .label_maps import check_label_maps, label_range
from .stream import PositionedLoader
from .targets import complete_targets


def instantiate_loader(node: DictConfig) -> Any:
    """Instantiate the config of a loader, and check its data if it is one of Detectron2's with dataset dicts.

    Such a loader gets the attributes `records` (the dataset dicts) and `class_names` (a dict of the lists "things",
    "stuff" and "keypoints" that the metadata has). A training loader also gets `left_out`, the counts of
    `clean_records`.

    Raises:
        UserError: if a COCO json, or one of the sampled images and label maps, is invalid; see `coco_json.py`,
            `targets.py`, `images.py` and `label_maps.py`.
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
            if "different metadata" in str(error):  # Detectron2's error for several datasets
                _require_same_classes(names, ("things", "stuff"))
            raise
    options["mapper"] = mapper
    if not isinstance(options.get("dataset"), list) or mapper is None:
        return target(**options)

    kinds = ["things", "stuff", "keypoints"] if getattr(mapper, "use_keypoint", False) else ["things", "stuff"]
    _require_same_classes(names, kinds)
    labels = label_range(names)
    records = options.pop("dataset")
    _check_records(records, names, labels)
    options["mapper"] = NamedErrors(mapper, labels)
    loader: Any
    if target is build_detection_test_loader:
        dataset = DatasetFromList(records, copy=False)
        loader = target(dataset=dataset, **options)
        loader.records = dataset
    else:
        left_out: Counter[str] = Counter()
        count = len(records)
        records = clean_records(records, masks, left_out)
        if len(records) < count and options.get("sampler") is not None:
            raise UserError(
                f"{' + '.join(names)}: {count - len(records)} images have more than {MAX_ANNOTATIONS} annotations; "
                "remove them from the dataset, because the loader has a sampler that counts on them"
            )
        complete_targets(records, mapper, " + ".join(names))
        seeded_by_config = options.get("sampler") is not None and node.sampler.get("seed") is not None
        loader = PositionedLoader(records, seed_sampler=not seeded_by_config, **options)
        loader.left_out = left_out
    loader.class_names = _class_names(names[0]) if names else {}
    return loader


def dataset_names(node: DictConfig) -> list[str]:
    """Return the names of the registered datasets in the config of a loader; an empty list if it has none.

    Raises:
        UserError: if `dataset.names` is neither a string nor a list of strings.
    """
    names = OmegaConf.select(node, "dataset.names", default=None) or []
    listed = [names] if isinstance(names, str) else names
    if not isinstance(listed, Sequence) or not all(isinstance(name, str) for name in listed):
        raise UserError(f"dataset.names is {names!r}, expected the name of a registered dataset, or a list of names")
    return list(listed)


def _check_records(records: list[dict[str, Any]], names: list[str], labels: Any) -> None:
    name = " + ".join(names) or "a dataset without a name"
    warn_of_boxes(records, name)
    check_images(records, name)
    check_label_maps(records, labels, name)


def _class_names(name: str) -> dict[str, list[str]]:
    metadata = MetadataCatalog.get(name) if name in DatasetCatalog.list() else {}
    keys = {"things": "thing_classes", "stuff": "stuff_classes", "keypoints": "keypoint_names"}
    lists = {kind: metadata.get(key) for kind, key in keys.items()}
    return {kind: list(classes) for kind, classes in lists.items() if classes}


def _require_same_classes(names: list[str], kinds: Sequence[str]) -> None:
    """Raise UserError if the datasets of a loader have different classes of one of these kinds."""
    for name in names[1:]:
        first, other = _class_names(names[0]), _class_names(name)
        for kind in kinds:
            if kind in first and kind in other and first[kind] != other[kind]:
                raise UserError(f"the classes differ: {names[0]} has {first[kind]}, {name} has {other[kind]}")
