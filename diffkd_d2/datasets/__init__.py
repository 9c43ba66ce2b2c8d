"""The datasets that ship with the project."""

from .. import _detectron2  # noqa: F401
