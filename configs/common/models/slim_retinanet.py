"""RetinaNet for images of about 128 pixels: P3 to P5, GroupNorm in the head, trained from scratch."""

from detectron2.config import LazyCall as L
from detectron2.layers import ShapeSpec
from detectron2.modeling.anchor_generator import DefaultAnchorGenerator
from detectron2.modeling.box_regression import Box2BoxTransform
from detectron2.modeling.matcher import Matcher
from detectron2.modeling.meta_arch import RetinaNet
from detectron2.modeling.meta_arch.retinanet import RetinaNetHead

from .slim_resnet import slim_resnet_fpn


def slim_retinanet(depth, width, channels, num_convs, num_classes=8):
    """Return the config of a RetinaNet with an FPN and a head of `channels` channels and `num_convs` convolutions."""
    return L(RetinaNet)(
        backbone=slim_resnet_fpn(depth, width, channels, ["res3", "res4", "res5"]),
        head=L(RetinaNetHead)(
            input_shape=[ShapeSpec(channels=channels)] * 3,
            num_classes="${..num_classes}",
            conv_dims=[channels] * num_convs,
            prior_prob=0.01,
            num_anchors=9,
            norm="GN",
        ),
        anchor_generator=L(DefaultAnchorGenerator)(
            sizes=[[x, x * 2 ** (1.0 / 3), x * 2 ** (2.0 / 3)] for x in [12, 24, 48]],
            aspect_ratios=[0.5, 1.0, 2.0],
            strides=[8, 16, 32],
            offset=0.0,
        ),
        box2box_transform=L(Box2BoxTransform)(weights=[1.0, 1.0, 1.0, 1.0]),
        anchor_matcher=L(Matcher)(thresholds=[0.4, 0.5], labels=[0, -1, 1], allow_low_quality_matches=True),
        num_classes=num_classes,
        head_in_features=["p3", "p4", "p5"],
        focal_loss_alpha=0.25,
        focal_loss_gamma=2.0,
        test_topk_candidates=300,
        pixel_mean=[103.53, 116.28, 123.675],
        pixel_std=[57.375, 57.12, 58.395],
        input_format="BGR",
    )
