"""Detectron2's loaders with checked records, mappers whose errors name the image, and a training stream by position."""

from .. import _detectron2  # noqa: F401

# isort: split

from collections import Counter
from typing import Any

from detectron2.config import instantiate
from detectron2.data import build_detection_test_loader, build_detection_train_loader
from detectron2.utils.registry import locate
from omegaconf import DictConfig

from .annotations import NamedErrors, clean_records
from .coco_json import checked_json
from .stream import PositionedLoader


def instantiate_loader(node: DictConfig) -> Any:
    """Instantiate the config of a loader; what is not Detectron2's, or not made of dataset dicts, is left as it is.

    A loader of training dicts has them as `records`, and as `left_out` what `clean_records` has counted.

    Raises:
        UserError: if a COCO json does not hold what it must; see `coco_check.py`.
    """
    target = node.get("_target_")
    target = locate(target) if isinstance(target, str) else target
    with checked_json():
        if target not in (build_detection_train_loader, build_detection_test_loader):
            return instantiate(node)
        options = {key: instantiate(value) for key, value in node.items() if key != "_target_"}
    if not isinstance(options.get("dataset"), list) or options.get("mapper") is None:
        return target(**options)
    options["mapper"] = NamedErrors(options["mapper"])
    if target is build_detection_test_loader:
        return target(**options)
    left_out: Counter[str] = Counter()
    records = clean_records(options.pop("dataset"), left_out)
    seeded_by_config = options.get("sampler") is not None and node.sampler.get("seed") is not None
    loader = PositionedLoader(records, seed_sampler=not seeded_by_config, **options)
    loader.records, loader.left_out = records, left_out
    return loader
