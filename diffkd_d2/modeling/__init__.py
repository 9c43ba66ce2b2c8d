"""Build and load models for distillation: teachers, YAML models, timm backbones, norms."""

from .. import _detectron2  # noqa: F401
