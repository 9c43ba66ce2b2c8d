"""Semantic FPN for small images: P2 to P5, trained from scratch."""

from detectron2.config import LazyCall as L
from detectron2.layers import ShapeSpec
from detectron2.modeling.meta_arch import SemanticSegmentor
from detectron2.modeling.meta_arch.semantic_seg import SemSegFPNHead

from .slim_resnet import slim_resnet_fpn


def slim_semantic_fpn(depth, width, channels, num_classes):
    """Config of a SemanticSegmentor with an FPN and a head of `channels` channels."""
    levels = {"p2": 4, "p3": 8, "p4": 16, "p5": 32}
    return L(SemanticSegmentor)(
        backbone=slim_resnet_fpn(depth, width, channels, ["res2", "res3", "res4", "res5"]),
        sem_seg_head=L(SemSegFPNHead)(
            input_shape={name: L(ShapeSpec)(stride=s, channels=channels) for name, s in levels.items()},
            num_classes=num_classes,
            conv_dims=channels,
            common_stride=4,
            norm="GN",
            ignore_value=255,
        ),
        pixel_mean=[103.53, 116.28, 123.675],
        pixel_std=[57.375, 57.12, 58.395],
    )
