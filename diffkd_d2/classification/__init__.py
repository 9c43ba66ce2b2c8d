"""Image classifiers under Detectron2's contract: model, data, evaluation."""

from .. import _detectron2  # noqa: F401
