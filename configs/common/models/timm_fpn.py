"""Detectron2's FPN models on a backbone of timm."""

from detectron2.config import LazyCall as L
from detectron2.modeling.backbone import FPN

from diffkd_d2.modeling.timm_backbone import TimmBackbone, timm_pixel_stats

from .semantic_fpn import semantic_fpn, semantic_fpn_head

STAGES = ["res2", "res3", "res4", "res5"]


def timm_fpn(name, channels=256, pretrained=True, norm="SyncBN", **options):
    """Return the config of an FPN, P2 to P5, on the timm model `name`; `options` are `TimmBackbone`'s."""
    bottom_up = L(TimmBackbone)(name=name, out_features=STAGES, pretrained=pretrained, norm=norm, **options)
    return L(FPN)(bottom_up=bottom_up, in_features=STAGES, out_channels=channels)


def timm_semantic_fpn(name, num_classes):
    """Return the config of Semantic FPN on the timm model `name`, with its pixel statistics."""
    return semantic_fpn(timm_fpn(name), semantic_fpn_head(256, num_classes), *timm_pixel_stats(name))


def on_timm(model, name, pretrained=True, norm="FrozenBN", **options):
    """Put the timm model `name` under the FPN of a LazyConfig model, with its pixel statistics and RGB order."""
    features = list(model.backbone.in_features)
    model.backbone.bottom_up = L(TimmBackbone)(
        name=name, out_features=features, pretrained=pretrained, norm=norm, **options
    )
    model.backbone.in_features = features
    model.pixel_mean, model.pixel_std = timm_pixel_stats(name)
    model.input_format = "RGB"
    return model
