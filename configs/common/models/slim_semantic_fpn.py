"""Semantic FPN for small images: P2 to P5, trained from scratch."""

from .semantic_fpn import semantic_fpn, semantic_fpn_head
from .slim_resnet import slim_resnet_fpn


def slim_semantic_fpn(depth, width, channels, num_classes):
    """Return the config of a SemanticSegmentor with an FPN and a head of `channels` channels."""
    backbone = slim_resnet_fpn(depth, width, channels, ["res2", "res3", "res4", "res5"])
    return semantic_fpn(backbone, semantic_fpn_head(channels, num_classes, conv_dims=channels))
