"""Semantic FPN (Panoptic Feature Pyramid Networks, 1901.02446): its head, and the segmentor on any FPN."""

from detectron2.config import LazyCall as L
from detectron2.layers import ShapeSpec
from detectron2.modeling.meta_arch import SemanticSegmentor
from detectron2.modeling.meta_arch.semantic_seg import SemSegFPNHead


def semantic_fpn_head(channels, num_classes, conv_dims=128, **options):
    """Return the config of the head on P2 to P5 of `channels` channels."""
    return L(SemSegFPNHead)(
        input_shape={f"p{i}": L(ShapeSpec)(stride=2**i, channels=channels) for i in (2, 3, 4, 5)},
        num_classes=num_classes,
        conv_dims=conv_dims,
        common_stride=4,
        norm="GN",
        ignore_value=255,
        **options,
    )


def semantic_fpn(backbone, head, pixel_mean=(103.53, 116.28, 123.675), pixel_std=(57.375, 57.12, 58.395)):
    """Return the config of a SemanticSegmentor; the default pixel statistics are for BGR images."""
    return L(SemanticSegmentor)(
        backbone=backbone, sem_seg_head=head, pixel_mean=list(pixel_mean), pixel_std=list(pixel_std)
    )
