"""FCOS for images of about 128 pixels: P3 to P5, trained from scratch."""

from detectron2.config import LazyCall as L
from detectron2.layers import ShapeSpec
from detectron2.modeling.meta_arch.fcos import FCOS, FCOSHead

from ....configs.common.models.slim_resnet import slim_resnet_fpn


def slim_fcos(depth, width, channels, num_convs, num_classes=8):
    """Config of a FCOS with an FPN and a head of `channels` channels and `num_convs` convolutions."""
    return L(FCOS)(
        backbone=slim_resnet_fpn(depth, width, channels, ["res3", "res4", "res5"]),
        head=L(FCOSHead)(
            input_shape=[ShapeSpec(channels=channels)] * 3,
            num_classes="${..num_classes}",
            conv_dims=[channels] * num_convs,
            prior_prob=0.01,
            norm="GN",
        ),
        head_in_features=["p3", "p4", "p5"],
        num_classes=num_classes,
        test_topk_candidates=300,
        pixel_mean=[103.53, 116.28, 123.675],
        pixel_std=[57.375, 57.12, 58.395],
    )
