"""Dataset dicts as Detectron2 can train on them, and mappers whose errors name the image."""

from .. import _detectron2  # noqa: F401

# isort: split

import logging
import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from detectron2.structures import BoxMode
from detectron2.utils.file_io import PathManager
from PIL import Image

from ..errors import ProjectError, UserError

logger = logging.getLogger(__name__)

# No public dataset comes near it (LVIS and SA-1B stay below 1,000); more would exhaust the memory of the matcher.
MAX_ANNOTATIONS = 10_000


def clean_records(records: list[dict[str, Any]], left_out: Counter[str] | None = None) -> list[dict[str, Any]]:
    """Leave out what cannot be trained on, log how often for which reason, and count that in `left_out` too.

    Left out are: annotations whose box is not finite, has no area or lies outside of the image; whose polygons have
    fewer than three points or lie far outside; whose RLE is not of the image's size; and images with more than
    `MAX_ANNOTATIONS` annotations. Records without "annotations" stay as they are.
    """
    left_out = Counter() if left_out is None else left_out
    kept = [r for r in (_clean_record(record, left_out) for record in records) if r is not None]
    for reason, count in sorted(left_out.items()):
        logger.warning(f"left out of the dataset: {count} {reason}")
    return kept


def _clean_record(record: dict[str, Any], left_out: Counter) -> dict[str, Any] | None:
    annotations = record.get("annotations")
    if not annotations:
        return record
    if len(annotations) > MAX_ANNOTATIONS:
        left_out[f"images with more than {MAX_ANNOTATIONS} annotations"] += 1
        return None
    size = record.get("height"), record.get("width")
    kept = []
    for annotation in annotations:
        reason = _fault_of_box(annotation, *size) or _fault_of_mask(annotation, *size, left_out)
        if reason is None:
            kept.append(annotation)
        else:
            left_out[f"annotations: {reason}"] += 1
    if len(kept) < len(annotations):
        record = {**record, "annotations": kept}
    return record


def _fault_of_box(annotation: dict[str, Any], height: int | None, width: int | None) -> str | None:
    box, mode = annotation["bbox"], annotation["bbox_mode"]
    if not _finite(box):
        return "the box is not finite"
    if mode not in (BoxMode.XYWH_ABS, BoxMode.XYXY_ABS):
        return None
    x0, y0, x1, y1 = box
    if mode == BoxMode.XYWH_ABS:
        x1, y1 = x0 + x1, y0 + y1
    if x1 <= x0 or y1 <= y0:
        return "the box has no area"
    if width and height and (x0 >= width or y0 >= height or x1 <= 0 or y1 <= 0):
        return "the box lies outside of the image"
    return None


def _fault_of_mask(annotation: dict[str, Any], height: int | None, width: int | None, left_out: Counter) -> str | None:
    mask = annotation.get("segmentation")
    if isinstance(mask, dict):
        if height and list(mask["size"]) != [height, width]:
            return "the RLE is not of the image's size"
        if sum(rle_counts(mask["counts"])) != mask["size"][0] * mask["size"][1]:
            return "the RLE is damaged"
    elif isinstance(mask, list):
        polygons = [p for p in mask if _polygon_serves(p, height, width)]
        if not polygons:
            return "no polygon of three points near the image"
        if len(polygons) < len(mask):
            left_out["polygons with fewer than three points or far outside"] += len(mask) - len(polygons)
            annotation["segmentation"] = polygons
    return None


def _polygon_serves(polygon: Sequence[float], height: int | None, width: int | None) -> bool:
    if len(polygon) < 6 or len(polygon) % 2 or not _finite(polygon):
        return False
    # Far outside, pycocotools would allocate memory for every pixel on the way there.
    limit = 2 * max(height or 0, width or 0)
    return not limit or all(-limit <= x <= limit for x in polygon)


def rle_counts(counts: str | bytes | Sequence[int]) -> list[int]:
    """Return the run lengths of an RLE: COCO's compressed text (six bits a character, differences), or the list."""
    if not isinstance(counts, str | bytes):
        return list(counts)
    text = counts.encode() if isinstance(counts, str) else counts
    runs: list[int] = []
    value = shift = 0
    for char in text:
        bits = char - 48
        value |= (bits & 0x1F) << shift
        shift += 5
        if bits & 0x20:
            continue
        if bits & 0x10:
            value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        if runs[-1] < 0 or bits < 0:
            return [-1]
        value = shift = 0
    return [-1] if shift else runs


def _finite(values: Sequence[float]) -> bool:
    # Integers beyond the range of floats count as infinite.
    return all(abs(v) < 1e300 and math.isfinite(v) for v in values)


class NamedErrors:
    """A mapper whose every error is a UserError that names the image; a DataLoader's worker passes it on.

    An image of more than 8 bits a channel is such an error: Pillow would cut all values off at 255.
    """

    def __init__(self, mapper: Callable[[dict[str, Any]], Any]):
        self.mapper = mapper

    def __call__(self, record: dict[str, Any]) -> Any:
        """Return what the mapper makes of the dataset dict.

        Raises:
            UserError: for whatever a mapper of Detectron2's raises, and for files that cannot be read.
            ProjectError: for whatever else a mapper of a project's own raises, with its traceback.
        """
        try:
            if hasattr(self.mapper, "image_format"):  # it reads by Detectron2's read_image
                _require_8_bits(record.get("file_name"))
            return self.mapper(record)
        except Exception as error:
            text = (str(error).strip().splitlines() or ["no message"])[0]
            name = f"{record.get('file_name', 'without a name')} (image_id {record.get('image_id', 'none')})"
            line = f"image {name}: {type(error).__name__}: {text}"
            own = getattr(self.mapper, "__module__", "").split(".")[0] not in ("detectron2", "diffkd_d2")
            if own and not isinstance(error, UserError | OSError):  # the traceback is of use to who wrote the mapper
                raise ProjectError(f"{line} (in the mapper {self.mapper})") from error
            raise UserError(line) from error


def _require_8_bits(file_name: str | None) -> None:
    if file_name is None:
        return
    with PathManager.open(file_name, "rb") as file, Image.open(file) as image:
        if image.mode == "F" or image.mode.startswith("I"):
            raise ValueError(f"it has more than 8 bits a channel (mode {image.mode}); convert it first")
