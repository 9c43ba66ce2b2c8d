"""Faster R-CNN for images of about 128 pixels: P2 to P5, few proposals, trained from scratch."""

from detectron2.config import LazyCall as L
from detectron2.layers import ShapeSpec
from detectron2.model_zoo import get_config
from detectron2.modeling.backbone.fpn import LastLevelMaxPool

from .slim_resnet import slim_resnet_fpn


def slim_faster_rcnn(depth, width, channels, fc_dim=256, num_classes=8):
    """Config of Detectron2's own Faster R-CNN with a slim backbone, GroupNorm in the box head and small anchors."""
    model = get_config("common/models/mask_rcnn_fpn.py").model
    model.backbone = slim_resnet_fpn(depth, width, channels, ["res2", "res3", "res4", "res5"])
    model.backbone.top_block = L(LastLevelMaxPool)()
    rpn, heads = model.proposal_generator, model.roi_heads
    rpn.head.in_channels = channels
    rpn.anchor_generator.sizes = [[8], [16], [32], [64], [128]]
    # Detectron2's 512 samples of 2,000 candidates would take most of the step on such images.
    rpn.batch_size_per_image, rpn.pre_nms_topk, rpn.post_nms_topk = 128, (400, 200), (200, 100)
    for name in ("mask_in_features", "mask_pooler", "mask_head"):
        heads.pop(name)
    heads.num_classes, heads.batch_size_per_image = num_classes, 64
    heads.box_head.input_shape = ShapeSpec(channels=channels, height=7, width=7)
    heads.box_head.conv_dims, heads.box_head.conv_norm, heads.box_head.fc_dims = [channels], "GN", [fc_dim]
    heads.box_predictor.input_shape = ShapeSpec(channels=fc_dim)
    return model
