"""Read any label map as class indices of the upright image: palette, 1-bit or 16-bit PNG, image with EXIF rotation."""

from .. import _detectron2  # noqa: F401

# isort: split

import io
import logging
from collections.abc import Sequence
from typing import IO, Any, NamedTuple

import numpy as np
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.utils.file_io import PathManager
from iopath.common.file_io import PathHandler
from PIL import Image

from .images import Header, named_error, read_header, require_8_bits, sample

logger = logging.getLogger(__name__)

SAMPLE = 16  # label maps of a dataset that are decoded before the first step
_PREFIX = "label-map://"
_PLAIN, _OTHER = ("L",), ("P", "1", "I;16", "I;16B", "I;16L", "I")
# EXIF orientation -> Pillow's operation that turns the image upright.
_TURN = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class LabelRange(NamedTuple):
    """The values that a label map may hold: 0 to `num_classes` - 1, and `ignore`."""

    num_classes: int
    ignore: int

    def check(self, labels: Any, file: str | None) -> None:
        """Raise ValueError if an integer tensor or array has another value; name the file and the first such value."""
        wrong = labels[((labels < 0) | (labels >= self.num_classes)) & (labels != self.ignore)]
        if len(wrong):
            raise ValueError(
                f"label map {file} holds the value {int(wrong[0])}: expected 0 to {self.num_classes - 1}, or "
                f"{self.ignore} for pixels to ignore"
            )


def label_range(names: Sequence[str]) -> LabelRange | None:
    """Return the range of labels of the first dataset; None if its metadata has no `stuff_classes`."""
    if not names or names[0] not in DatasetCatalog.list():
        return None
    metadata = MetadataCatalog.get(names[0])
    classes = metadata.get("stuff_classes")
    return LabelRange(len(classes), metadata.get("ignore_label", 255)) if classes else None


def readable_label_map(image: str, label_map: str) -> str:
    """Return a file name under which Detectron2 reads the class indices of the upright image.

    It is the name of the file itself if the file is 8-bit grey and need not be turned. For a palette, Detectron2 would
    otherwise train on the luminance of the colours but evaluate on the indices.

    Raises:
        ValueError: if the sizes differ, or the file holds colours or floats; the message names the files.
    """
    header = read_header(label_map)
    if header.mode not in _PLAIN + _OTHER:
        raise ValueError(f"label map {label_map} has the mode {header.mode}: expected one class index per pixel")
    orientation = _turn_of(image, label_map, header)
    return label_map if header.mode in _PLAIN and orientation == 1 else f"{_PREFIX}{orientation}/{label_map}"


class ReadableLabelMaps(dict):
    """Map image files to the names under which to read label maps, for `SemSegEvaluator.input_file_to_gt_file`."""

    def __getitem__(self, image: str) -> str:
        return readable_label_map(image, super().__getitem__(image))


def check_panoptic_map(image: str, panoptic_map: str) -> None:
    """Raise ValueError if a panoptic PNG has another size than its upright image or more than 8 bits per channel."""
    header = read_header(panoptic_map)
    require_8_bits(header)
    if _turn_of(image, panoptic_map, header) != 1:  # the evaluation reads the file directly
        raise ValueError(f"{image} is turned by EXIF, but {panoptic_map} is not: rotate the file like the image")


def _turn_of(image: str, label_map: str, header: Header) -> int:
    """Return the EXIF orientation to apply to the label map; 1 means no change."""
    of_image = read_header(image)
    if header.size == of_image.seen_size:
        return 1
    if header.size == of_image.size:
        return of_image.orientation
    sizes = [f"{w} x {h}" for w, h in (header.size, of_image.seen_size)]
    raise ValueError(f"label map {label_map} is {sizes[0]} (width x height), its image {image} is {sizes[1]}")


class _LabelMapHandler(PathHandler):
    """Open `label-map://<orientation>/<path>` as an upright 8-bit grey image of class indices."""

    def _get_supported_prefixes(self) -> list[str]:
        return [_PREFIX]

    def _open(self, path: str, mode: str = "r", buffering: int = -1, **kwargs: Any) -> IO[bytes]:
        orientation, _, file_name = path[len(_PREFIX) :].partition("/")
        with PathManager.open(file_name, "rb") as file, Image.open(file) as image:
            turn = _TURN.get(int(orientation))
            indices = np.asarray(image.transpose(turn) if turn is not None else image)
        if indices.max(initial=0) > 255:
            raise ValueError(f"label map {file_name} holds the value {indices.max()}: Detectron2 reads 8 bits")
        buffer = io.BytesIO()
        Image.fromarray(indices.astype(np.uint8)).save(buffer, "PPM")
        buffer.seek(0)
        return buffer


PathManager.register_handler(_LabelMapHandler(), allow_override=True)


def check_label_maps(records: Sequence[dict[str, Any]], allowed: LabelRange | None, name: str) -> None:
    """Decode a sample of the label maps; warn if they contain only 0 and the ignored value.

    Raises:
        UserError: if one cannot be read, does not have the size of its image, or holds a value that is not allowed.
    """
    values: set[int] = set()
    sampled = [r for r in sample(records, SAMPLE) if "sem_seg_file_name" in r]
    for record in sampled:
        try:
            file = readable_label_map(record["file_name"], record["sem_seg_file_name"])
            with PathManager.open(file, "rb") as stream, Image.open(stream) as image:
                found = np.flatnonzero(np.bincount(np.asarray(image).reshape(-1)))
            if allowed is not None:
                allowed.check(found, record["sem_seg_file_name"])
        except Exception as error:
            raise named_error(record, error) from error
        values |= set(found.tolist())
    if allowed is not None and sampled and allowed.num_classes > 1 and values == {0, allowed.ignore}:
        logger.warning(
            f"{name}: all {len(sampled)} sampled label maps contain only 0 and {allowed.ignore}, and "
            f"{allowed.ignore} is ignored, so class 1 of {allowed.num_classes} never occurs: write class indices"
        )
