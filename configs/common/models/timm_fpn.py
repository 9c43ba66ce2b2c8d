"""Detectron2's FPN detectors on a backbone of timm."""

from detectron2.config import LazyCall as L

from diffkd_d2.backbones.timm_backbone import TimmBackbone, timm_pixel_stats


def on_timm(model, name, pretrained=True, **options):
    """Put the timm model `name` under the FPN of a LazyConfig model, with its pixel statistics and RGB order."""
    features = list(model.backbone.in_features)
    model.backbone.bottom_up = L(TimmBackbone)(name=name, out_features=features, pretrained=pretrained, **options)
    model.backbone.in_features = features
    model.pixel_mean, model.pixel_std = timm_pixel_stats(name)
    model.input_format = "RGB"
    return model
