"""Check image files without decoding them: bits per channel, size, EXIF orientation."""

from .. import _detectron2  # noqa: F401

# isort: split

import logging
import os
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from detectron2.utils.file_io import PathManager
from PIL import Image

from ..errors import UserError

logger = logging.getLogger(__name__)

SAMPLE = 100  # images of a dataset that are checked before the first step
_ORIENTATION = 0x0112  # EXIF tag: 1 is as stored, 2 to 4 are mirrored or upside down, 5 to 8 swap width and height


class Header(NamedTuple):
    """Header of an image file: stored size (width, height), EXIF orientation, Pillow's mode and decoders."""

    size: tuple[int, int]
    orientation: int
    mode: str
    decoders: str

    @property
    def seen_size(self) -> tuple[int, int]:
        """(width, height) after the EXIF rotation, which Detectron2 applies when it reads an image."""
        return self.size[::-1] if self.orientation >= 5 else self.size

    @property
    def undecided(self) -> bool:
        """Whether EXIF turns the image, but its size does not show if annotations refer to the turned image."""
        return self.orientation in (2, 3, 4) or (self.orientation >= 5 and self.size[0] == self.size[1])


def read_header(file_name: str) -> Header:
    """Open an image without decoding it.

    Raises:
        OSError: if there is no such file, or it is not an image.
    """
    with PathManager.open(file_name, "rb") as file, Image.open(file) as image:
        return header_of(image)


def header_of(image: Image.Image) -> Header:
    """Return the header of an open image that is not decoded yet."""
    decoders = str(getattr(image, "tile", ""))  # decoding, which getexif may do, removes it
    # getexif would decode a PNG without EXIF before its pixels, to look for EXIF after them.
    exif = image.getexif() if image.format != "PNG" or "exif" in image.info else {}
    orientation = exif.get(_ORIENTATION, 1)
    return Header(image.size, orientation if orientation in range(1, 9) else 1, image.mode, decoders)


def require_8_bits(header: Header) -> None:
    """Raise ValueError for more than 8 bits per channel: Pillow would keep the upper 8 (RGB) or clip at 255."""
    deep = header.mode in ("F", "I") or header.mode.startswith("I;")
    if deep or ";16" in header.decoders:  # such as "RGB;16B", the storage format of a channel
        mode = header.mode if deep else f"{header.mode} of 16 bits"
        raise ValueError(f"it has more than 8 bits per channel (mode {mode}); convert it first")


def check_images(records: Sequence[dict[str, Any]], name: str) -> None:
    """Check that all image files exist, and the headers of a sample; warn of rotations that cannot be verified.

    Args:
        records: dataset dicts.
        name: name of the dataset, for messages.

    Raises:
        UserError: if files are missing, or a sampled image has more than 8 bits per channel or not the size of its
            record. The message names the file.
    """
    require_files([r["file_name"] for r in records if "file_name" in r], f"images of {name}")
    sampled = [r for r in sample(records, SAMPLE) if "file_name" in r]
    undecided = []
    for record in sampled:
        try:
            header = read_header(record["file_name"])
            require_8_bits(header)
        except Exception as error:
            raise named_error(record, error) from error
        size = record.get("width"), record.get("height")
        if None not in size and header.seen_size != size:
            raise named_error(record, ValueError(_sizes_differ(header, size)))
        if header.undecided:
            undecided.append(
                f"{record['file_name']} (orientation {header.orientation}, {header.size[0]} x {header.size[1]})"
            )
    if undecided:
        logger.warning(
            f"{name}: {len(undecided)} of {len(sampled)} sampled images are turned by EXIF, such as {undecided[0]}, "
            "and their size does not show whether the annotations are turned, too. Detectron2 turns the image, so "
            "the annotations must refer to the turned image; if they do not, remove the EXIF tag"
        )


def sample(items: Sequence[Any], count: int) -> list[Any]:
    """Return at most `count` items, evenly spaced."""
    count = min(count, len(items))
    return [items[i * len(items) // count] for i in range(count)]


def named_error(record: dict[str, Any], error: Exception) -> UserError:
    """Return the error as a UserError whose message names the image of the record."""
    text = (str(error).strip().splitlines() or ["no message"])[0]
    name = f"{record.get('file_name', 'without a name')} (image_id {record.get('image_id', 'none')})"
    return UserError(f"image {name}: {type(error).__name__}: {text}")


def _sizes_differ(header: Header, size: tuple[int, int]) -> str:
    turned = f", EXIF orientation {header.orientation}" if header.orientation != 1 else ""
    width, height = header.seen_size
    return f"the file is {width} x {height} (width x height{turned}), its record says {size[0]} x {size[1]}"


def require_files(paths: Iterable[str], what: str) -> None:
    """Raise UserError if local files are missing. Each folder is listed once, which is fast even for 100,000 files."""
    folders: dict[str, set[str]] = {}
    missing, count = [], 0
    for path in paths:
        count += 1
        folder, file = os.path.split(path)
        if "://" in folder:
            continue
        if folder not in folders:
            folders[folder] = set(os.listdir(folder or ".")) if os.path.isdir(folder or ".") else set()
        if file not in folders[folder]:
            missing.append(path)
    if missing:
        root = os.environ.get("DETECTRON2_DATASETS", "datasets")
        raise UserError(
            f"dataset: {len(missing)} of {count} {what} are missing, such as {missing[0]} "
            f"(DETECTRON2_DATASETS is '{root}')"
        )
