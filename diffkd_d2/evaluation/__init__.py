"""Evaluators that Detectron2 lacks, and substitutes for third-party packages that may be missing."""

from .. import _detectron2  # noqa: F401
