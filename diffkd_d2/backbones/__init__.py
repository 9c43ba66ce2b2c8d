"""Backbones that Detectron2 lacks."""

from .. import _detectron2  # noqa: F401
