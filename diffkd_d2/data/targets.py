"""Check before the first step that the annotations have the masks and keypoints that a mapper reads."""

from collections.abc import Iterator
from typing import Any

from ..errors import UserError

Record = dict[str, Any]


def complete_targets(records: list[Record], mapper: Any, name: str) -> None:
    """Check that all annotations have masks, and some have keypoints, if the mapper reads them.

    If only some annotations have keypoints, the others get invisible ones, in place. A mapper without the attributes
    `use_instance_mask` and `use_keypoint` is assumed to read neither.

    Args:
        records: dataset dicts.
        mapper: a `DatasetMapper` of training data, or anything else.
        name: name of the dataset, for errors.

    Raises:
        UserError: if a mask is missing or has a format that the mapper cannot read, no annotation has keypoints, or
            the numbers of keypoints differ.
    """
    if getattr(mapper, "use_instance_mask", False):
        _require_masks(records, getattr(mapper, "instance_mask_format", "bitmask"), name)
    if getattr(mapper, "use_keypoint", False):
        _complete_keypoints(records, name)


def _require_masks(records: list[Record], form: str, name: str) -> None:
    pairs = list(_objects(records))
    without = [record for record, annotation in pairs if not annotation.get("segmentation")]
    if without:
        raise UserError(
            f"{name}: {len(without)} of {len(pairs)} annotations have no mask ('segmentation'), the first in "
            f"{_image(without[0])}: set mapper.use_instance_mask=False for a box detector, or add masks"
        )
    encoded = [record for record, annotation in pairs if isinstance(annotation["segmentation"], dict)]
    if form == "polygon" and encoded:
        raise UserError(
            f"{name}: {len(encoded)} of {len(pairs)} masks are RLE, the first in {_image(encoded[0])}: set "
            "dataloader.train.mapper.instance_mask_format=bitmask"
        )


def _complete_keypoints(records: list[Record], name: str) -> None:
    pairs = list(_objects(records))
    lengths = {len(a["keypoints"]): record for record, a in pairs if a.get("keypoints")}
    if pairs and not lengths:
        raise UserError(
            f"{name}: none of {len(pairs)} annotations has 'keypoints', the first is in {_image(pairs[0][0])}: set "
            "mapper.use_keypoint=False, or add keypoints"
        )
    if len(lengths) > 1:
        counts = ", ".join(f"{length // 3} in {_image(record)}" for length, record in sorted(lengths.items())[:3])
        raise UserError(f"{name}: the annotations have different numbers of keypoints: {counts}")
    for _, annotation in pairs:
        if not annotation.get("keypoints"):
            annotation["keypoints"] = [0] * next(iter(lengths))


def _objects(records: list[Record]) -> Iterator[tuple[Record, Record]]:
    """Return the annotations that mappers read (all except crowds), each with its record."""
    return ((r, a) for r in records for a in r.get("annotations", []) if not a.get("iscrowd", 0))


def _image(record: Record) -> str:
    return f"{record.get('file_name', 'a record without a name')} (image_id {record.get('image_id', 'none')})"
