"""Prepare records and batches: check COCO files, clean annotations, make the training stream resumable."""

from .. import _detectron2  # noqa: F401
