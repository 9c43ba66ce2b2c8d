"""Detectron2's FCOS with an FPN, its stem and res2 frozen."""

from detectron2.model_zoo import get_config


def fcos(depth):
    """Return the config of FCOS on a ResNet of 50 or 101 layers."""
    model = get_config("common/models/fcos.py").model
    model.backbone.bottom_up.stages.depth = depth
    model.backbone.bottom_up.freeze_at = 2
    return model
