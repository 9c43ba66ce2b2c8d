"""Remove annotations that Detectron2 cannot train on, and make a mapper's errors name the image."""

from .. import _detectron2  # noqa: F401

# isort: split

import logging
import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from detectron2.structures import BoxMode

from ..errors import ProjectError, UserError
from .images import named_error, read_header, require_8_bits
from .label_maps import LabelRange, check_panoptic_map, readable_label_map

logger = logging.getLogger(__name__)

# More would exhaust the memory of the matcher; public datasets have far fewer (LVIS and SA-1B below 1,000).
MAX_ANNOTATIONS = 10_000


def clean_records(
    records: list[dict[str, Any]], masks: bool = True, left_out: Counter[str] | None = None
) -> list[dict[str, Any]]:
    """Leave out what cannot be trained on, and log how often and why.

    This leaves out annotations whose box is not finite, has no area or lies outside of the image, whose polygons have
    fewer than three points or lie far outside, or whose RLE does not have the image's size; and images with more than
    `MAX_ANNOTATIONS` annotations. Records without "annotations" do not change.

    Args:
        records: dataset dicts.
        masks: whether masks are read; if not, they are not checked.
        left_out: if given, also counts each reason.
    """
    left_out = Counter() if left_out is None else left_out
    kept = [r for r in (_clean_record(record, masks, left_out) for record in records) if r is not None]
    for reason, count in sorted(left_out.items()):
        logger.warning(f"left out of the dataset: {count} {reason}")
    return kept


def warn_of_boxes(records: list[dict[str, Any]], name: str) -> None:
    """Log how many boxes extend beyond their image by more than a pixel, such as corners read as width and height."""
    leaving, count = [], 0
    for record in records:
        size: tuple[Any, Any] = record.get("height"), record.get("width")
        for annotation in record.get("annotations", ()) if None not in size else ():
            count += 1
            if _extends_beyond(annotation, *size):
                leaving.append((record, annotation))
    if leaving:
        record, annotation = leaving[0]
        logger.warning(
            f"{name}: {len(leaving)} of {count} boxes extend beyond their image, such as {annotation['bbox']} "
            f"({BoxMode(annotation['bbox_mode']).name}) of {record.get('file_name')}, "
            f"{record['width']} x {record['height']}: check the format of the boxes"
        )


def _extends_beyond(annotation: dict[str, Any], height: int, width: int) -> bool:
    box: Any = annotation.get("bbox")
    mode = annotation.get("bbox_mode")
    if mode not in (BoxMode.XYWH_ABS, BoxMode.XYXY_ABS) or len(box) != 4:
        return False
    x0, y0, x1, y1 = box
    if mode == BoxMode.XYWH_ABS:
        x1, y1 = x0 + x1, y0 + y1
    return x0 < -1 or y0 < -1 or x1 > width + 1 or y1 > height + 1


def _clean_record(record: dict[str, Any], masks: bool, left_out: Counter) -> dict[str, Any] | None:
    annotations = record.get("annotations")
    if not annotations:
        return record
    if len(annotations) > MAX_ANNOTATIONS:
        left_out[f"images with more than {MAX_ANNOTATIONS} annotations"] += 1
        return None
    size = record.get("height"), record.get("width")
    kept = []
    for annotation in annotations:
        reason = _box_problem(annotation, *size)
        if masks and reason is None:
            reason = _mask_problem(annotation, *size, left_out)
        if reason is None:
            kept.append(annotation)
        else:
            left_out[f"annotations: {reason}"] += 1
    if len(kept) < len(annotations):
        record = {**record, "annotations": kept}
    return record


def _box_problem(annotation: dict[str, Any], height: int | None, width: int | None) -> str | None:
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


def _mask_problem(annotation: dict[str, Any], height: int | None, width: int | None, left_out: Counter) -> str | None:
    mask = annotation.get("segmentation")
    if isinstance(mask, dict):
        if height and list(mask["size"]) != [height, width]:
            return "the RLE does not have the image's size"
        if sum(rle_counts(mask["counts"])) != mask["size"][0] * mask["size"][1]:
            return "the RLE is damaged"
    elif isinstance(mask, list):
        polygons = [p for p in mask if _is_usable_polygon(p, height, width)]
        if not polygons:
            return "no polygon with three points near the image"
        if len(polygons) < len(mask):
            left_out["polygons with fewer than three points or far outside"] += len(mask) - len(polygons)
            annotation["segmentation"] = polygons
    return None


def _is_usable_polygon(polygon: Sequence[float], height: int | None, width: int | None) -> bool:
    if len(polygon) < 6 or len(polygon) % 2 or not _finite(polygon):
        return False
    # pycocotools would allocate memory for every pixel up to a point far outside.
    limit = 2 * max(height or 0, width or 0)
    return not limit or all(-limit <= x <= limit for x in polygon)


def rle_counts(counts: str | bytes | Sequence[int]) -> list[int]:
    """Return the run lengths of an RLE, [-1] if it is damaged.

    Args:
        counts: the list itself, or COCO's compressed string (six bits per character, differences).
    """
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
    # Integers too large for a float count as infinite.
    return all(abs(v) < 1e300 and math.isfinite(v) for v in values)


class NamedErrors:
    """Wrap a mapper so that its errors name the image, also from the worker of a DataLoader.

    If the mapper reads with Detectron2's `read_image`, an image with more than 8 bits per channel is an error, and
    label maps are read through `readable_label_map`.

    Args:
        mapper: function from a dataset dict to the model's input.
        labels: values that a label map may hold. If None, any.
    """

    def __init__(self, mapper: Callable[[dict[str, Any]], Any], labels: LabelRange | None = None):
        self.mapper, self.labels = mapper, labels

    def __call__(self, record: dict[str, Any]) -> Any:
        """Return the mapper's result for a dataset dict.

        Raises:
            UserError: for any error of Detectron2's mappers, and for files that cannot be read.
            ProjectError: for any other error of a project's own mapper, with its traceback.
        """
        try:
            readable = record
            if hasattr(self.mapper, "image_format") and "file_name" in record:
                readable = _checked_files(record)
            mapped = self._map(readable)
            if self.labels is not None and isinstance(mapped, dict) and "sem_seg" in mapped:
                file = record.get("sem_seg_file_name") or record.get("pan_seg_file_name")
                self.labels.check(mapped["sem_seg"], file)
            return mapped
        except ProjectError:
            raise
        except Exception as error:
            raise named_error(record, error) from error

    def _map(self, record: dict[str, Any]) -> Any:
        try:
            return self.mapper(record)
        except (UserError, OSError):
            raise
        except Exception as error:
            if getattr(self.mapper, "__module__", "").split(".")[0] in ("detectron2", "diffkd_d2"):
                raise
            # Keep the traceback for the author of the mapper.
            raise ProjectError(f"{named_error(record, error)} (in the mapper {self.mapper})") from error


def _checked_files(record: dict[str, Any]) -> dict[str, Any]:
    image = record["file_name"]
    require_8_bits(read_header(image))
    if "pan_seg_file_name" in record:
        check_panoptic_map(image, record["pan_seg_file_name"])
    if "sem_seg_file_name" in record:
        return {**record, "sem_seg_file_name": readable_label_map(image, record["sem_seg_file_name"])}
    return record
