"""Check a COCO json before Detectron2 reads it; each error names the file and the record.

Contradictions, and missing values that Detectron2 needs, are errors here. Missing values with only one possible
meaning are filled in (`coco_defaults.py`). Unusable annotations, such as an empty box or a polygon of two points, are
left out and counted (`annotations.py`).
"""

from .. import _detectron2  # noqa: F401

# isort: split

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeGuard

import pycocotools.coco
from detectron2.evaluation import coco_evaluation

from ..errors import UserError
from .coco_defaults import fill_in, prepare_for_evaluation, warn_of_contradictions

MAX_SIDE = 1 << 20  # pixels of an image's height or width

_COCO = pycocotools.coco.COCO


@contextmanager
def checked_json(masks: bool = True) -> Iterator[None]:
    """Run `check_coco` and `fill_in` on each json that Detectron2's `load_coco_json` loads inside the block.

    Args:
        masks: whether masks are read; if not, a box stays even if its mask is unusable.
    """
    pycocotools.coco.COCO = partial(_CheckedCOCO, masks=masks)  # load_coco_json imports COCO on each call
    try:
        yield
    finally:
        pycocotools.coco.COCO = _COCO


@contextmanager
def checked_evaluator_json() -> Iterator[None]:
    """Do the same for the json of COCO evaluators built inside the block, and renumber its annotations."""
    coco_evaluation.COCO = _EvaluatorCOCO
    try:
        yield
    finally:
        coco_evaluation.COCO = _COCO


class _CheckedCOCO(pycocotools.coco.COCO):
    def __init__(self, annotation_file: str | None = None, masks: bool = True):
        self.file, self.masks = annotation_file, masks
        try:
            super().__init__(annotation_file)
        except (UserError, FileNotFoundError):
            raise
        except Exception as error:  # damaged text can raise anything
            raise UserError(f"{annotation_file}: not a COCO json ({type(error).__name__}: {error})") from error

    def createIndex(self) -> None:  # noqa: N802 - pycocotools' name
        self.complete()
        super().createIndex()

    def complete(self) -> None:
        """Check the json and fill in missing values."""
        check_coco(self.dataset, str(self.file), converted=str(self.file).endswith("_coco_format.json"))
        fill_in(self.dataset, str(self.file), self.masks)
        warn_of_contradictions(self.dataset, str(self.file))


class _EvaluatorCOCO(_CheckedCOCO):
    def complete(self) -> None:
        """Check the json, fill in missing values and renumber the annotations."""
        super().complete()
        prepare_for_evaluation(self.dataset)


def check_coco(data: dict[str, Any], file: str, converted: bool = False) -> None:
    """Check images, categories and annotations of a parsed COCO json.

    Args:
        data: the parsed json.
        file: its name, for messages.
        converted: whether Detectron2 wrote it from a dataset's records, whose image ids may be texts, and whose boxes
            may be rotated (five numbers).

    Raises:
        UserError: if a value is missing, of a wrong type or out of range, an id occurs twice, or a category is unknown.
    """
    images = _records(data, "images", file)
    categories = _records(data, "categories", file)
    annotations = _records(data, "annotations", file) if "annotations" in data else []
    for kind, records, unique in (("image", images, True), ("category", categories, True)):
        _check_ids(kind, records, file, unique, texts=converted and kind == "image")
    for i, image in enumerate(images):
        where = f"{file}: image {i} (id {image['id']})"
        _require(isinstance(image.get("file_name"), str) and image["file_name"] != "", where, "file_name", image)
        for key in ("height", "width"):
            _require(_is_side(image.get(key)), where, key, image)
    for i, category in enumerate(categories):
        where = f"{file}: category {i} (id {category['id']})"
        _require(isinstance(category.get("name"), str), where, "name", category)
    # Detectron2 accepts that annotation ids of COCO's minival files are not unique.
    _check_ids("annotation", annotations, file, "minival" not in file)
    known = {category["id"] for category in categories}
    for i, annotation in enumerate(annotations):
        _check_annotation(annotation, f"{file}: annotation {i} (id {annotation['id']})", known, converted)


def _check_annotation(annotation: dict[str, Any], where: str, categories: set[int], converted: bool) -> None:
    _require(_is_id(annotation.get("image_id"), texts=converted), where, "image_id", annotation)
    category = annotation.get("category_id")
    _require(_is_id(category) and category in categories, where, "category_id", annotation)
    box = annotation.get("bbox")
    _require(_is_numbers(box, 4) or (converted and _is_numbers(box, 5)), where, "bbox", annotation)
    _require(annotation.get("iscrowd") in (None, 0, 1), where, "iscrowd", annotation)
    _require(annotation.get("area") is None or _is_number(annotation["area"]), where, "area", annotation)
    _require(not annotation.get("ignore", 0), where, "ignore", annotation)
    keypoints = annotation.get("keypoints") or []
    _require(_is_numbers(keypoints) and len(keypoints) % 3 == 0, where, "keypoints", annotation)
    segmentation = annotation.get("segmentation") or []
    if isinstance(segmentation, dict):
        counts, size = segmentation.get("counts"), segmentation.get("size")
        runs = isinstance(counts, list) and all(_is_id(x) and 0 <= x < 1 << 31 for x in counts)
        _require(isinstance(counts, str) or runs, where, "segmentation.counts", annotation)
        sides = _is_numbers(size, 2) and all(_is_side(x) and _is_id(x) for x in size)
        _require(sides, where, "segmentation.size", annotation)
    else:
        polygons = isinstance(segmentation, list) and all(_is_numbers(p) for p in segmentation)
        _require(polygons, where, "segmentation", annotation)


def _records(data: dict[str, Any], key: str, file: str) -> list[dict]:
    records = data.get(key)
    if not isinstance(records, list):
        raise UserError(f"{file}: '{key}' is {_short(records)}, expected a list")
    for i, record in enumerate(records):
        if not isinstance(record, dict):
            raise UserError(f"{file}: {key}[{i}] is {_short(record)}, expected an object")
    return records


def _check_ids(kind: str, records: list[dict], file: str, unique: bool, texts: bool = False) -> None:
    seen: dict[Any, int] = {}
    for i, record in enumerate(records):
        _require(_is_id(record.get("id"), texts), f"{file}: {kind} {i}", "id", record)
        first = seen.setdefault(record["id"], i)
        if unique and first != i:
            raise UserError(f"{file}: {kind} {i} has the id {record['id']} of {kind} {first}")


def _require(holds: bool, where: str, key: str, record: dict) -> None:
    if not holds:
        value: Any = record
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        raise UserError(f"{where}: '{key}' is {_short(value)}")


def _is_id(value: Any, texts: bool = False) -> bool:
    return (isinstance(value, int) and not isinstance(value, bool)) or (texts and isinstance(value, str))


def _is_side(value: Any) -> bool:
    return _is_number(value) and 1 <= value <= MAX_SIDE and value % 1 == 0


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)  # as json makes them, and no bool


def _is_numbers(value: Any, length: int | None = None) -> TypeGuard[list[Any]]:
    return isinstance(value, list) and length in (None, len(value)) and {int, float}.issuperset(map(type, value))


def _short(value: Any) -> str:
    text = "missing" if value is None else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
