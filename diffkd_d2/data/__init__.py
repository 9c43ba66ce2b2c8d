"""What prepares records and batches: checked COCO files, cleaned annotations, a training stream by position."""

from .. import _detectron2  # noqa: F401
