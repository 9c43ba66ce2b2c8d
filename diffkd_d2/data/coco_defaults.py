"""Fill in what a COCO json may leave out, and warn of what is valid but probably a mistake."""

from .. import _detectron2  # noqa: F401

# isort: split

import logging
from collections import Counter
from typing import Any

from detectron2.utils.logger import log_first_n

Json = dict[str, Any]


def fill_in(data: Json, file: str, masks: bool = True) -> None:
    """Complete in place a json that has passed `check_coco`, and log how often.

    A missing or null `iscrowd` becomes 0, a missing `area` that of the box; null or empty masks and keypoints are
    removed. Categories with the same name get their id appended, because results are stored by name.

    Args:
        data: the parsed json.
        file: name of the json, for the log.
        masks: whether masks are read. If not, polygons with fewer than three points are removed, so that
            Detectron2 keeps the box.
    """
    filled: Counter[str] = Counter()
    annotations = data.get("annotations", [])
    for annotation in annotations:
        _fill_annotation(annotation, masks, filled)
    for what, count in sorted(filled.items()):
        _log_once(f"{file}: {count} of {len(annotations)} annotations have no {what}")
    names = Counter(category["name"] for category in data["categories"])
    for category in data["categories"]:
        if names[category["name"]] > 1:
            _log_once(
                f"{file}: {names[category['name']]} categories are named '{category['name']}'; their ids are added"
            )
            category["name"] += f" (id {category['id']})"


def _fill_annotation(annotation: Json, masks: bool, filled: Counter) -> None:
    if annotation.get("iscrowd") is None:
        annotation["iscrowd"] = 0
        filled["'iscrowd': taken as 0"] += 1
    if annotation.get("area") is None:
        box = annotation["bbox"]
        annotation["area"] = box[2] * box[3] if _products_are_finite(*box) else 0
        filled["'area': taken as the box's"] += 1
    for key in ("segmentation", "keypoints"):
        if key in annotation and not annotation[key]:
            del annotation[key]
    polygons = annotation.get("segmentation")
    if isinstance(polygons, list):
        useful = any(polygons) if masks else any(len(p) >= 6 and len(p) % 2 == 0 for p in polygons)
        if not useful:
            del annotation["segmentation"]


def prepare_for_evaluation(data: Json) -> None:
    """Number the annotations from 1 and complete their keypoints, in place.

    pycocotools' COCOeval counts a match with id 0 as no match, and reads `keypoints` and `num_keypoints` everywhere.
    """
    annotations = data.get("annotations", [])
    length = max((len(a["keypoints"]) for a in annotations if "keypoints" in a), default=0)
    for i, annotation in enumerate(annotations, start=1):
        annotation["id"] = i
        if length:
            keypoints = annotation.setdefault("keypoints", [0] * length)
            annotation.setdefault("num_keypoints", sum(v > 0 for v in keypoints[2::3]))


def warn_of_contradictions(data: Json, file: str) -> None:
    """Warn if areas fit boxes that are written as two corners, or if images share a file name."""
    annotations = [a for a in data.get("annotations", []) if len(a["bbox"]) == 4]  # not rotated boxes
    corners = sum(_area_is_of_corners(a) for a in annotations)
    if corners:
        many = 10 * corners > len(annotations)
        advice = "'bbox' must be x, y, width, height" if many else "so few may be chance"
        _log_once(
            f"{file}: 'area' does not fit the box in {corners} of {len(annotations)} annotations, but fits it as "
            f"x0 y0 x1 y1: {advice}",
            logging.WARNING if many else logging.INFO,
        )
    larger = sum(_area_is_larger(a) for a in annotations)
    if larger:
        _log_once(f"{file}: 'area' is larger than the box in {larger} of {len(annotations)} annotations")
    repeated = len(data["images"]) - len({image["file_name"] for image in data["images"]})
    if repeated:
        _log_once(f"{file}: {repeated} of {len(data['images'])} images share their file_name with another image")


def _area_is_of_corners(annotation: Json) -> bool:
    (x0, y0, x1, y1), area = annotation["bbox"], annotation["area"]
    if not _products_are_finite(x0, y0, x1, y1, area):
        return False
    of_corners = (x1 - x0) * (y1 - y0)
    near = 0.01 * abs(area)
    return x1 > x0 and y1 > y0 and abs(of_corners - area) <= near < abs(x1 * y1 - area)


def _area_is_larger(annotation: Json) -> bool:
    _, _, width, height = annotation["bbox"]
    if annotation["iscrowd"] or not _products_are_finite(width, height, annotation["area"]):
        return False
    return min(width, height) > 0 and 1.05 * width * height + 2 < annotation["area"]


def _products_are_finite(*values: float) -> bool:
    """Return whether all products of two of the values are finite; integers may exceed the range of floats."""
    return all(abs(value) < 1e100 for value in values)


def _log_once(message: str, level: int = logging.WARNING) -> None:
    # Once per message, because loaders and evaluators may read the same file.
    log_first_n(level, message, key="message", name=__name__)
