"""Checkpoints: read without running code from them, written whole or not at all."""

from .. import _detectron2  # noqa: F401
