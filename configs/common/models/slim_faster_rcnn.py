"""Detectron2's ROI detectors for images of about 128 pixels: P2 to P5, few proposals, trained from scratch."""

from detectron2.config import LazyCall as L
from detectron2.layers import ShapeSpec
from detectron2.model_zoo import get_config
from detectron2.modeling import PanopticFPN
from detectron2.modeling.backbone.fpn import LastLevelMaxPool

from .semantic_fpn import semantic_fpn_head
from .slim_resnet import slim_resnet_fpn


def slim_faster_rcnn(depth, width, channels, fc_dim=256, num_classes=8, masks=False):
    """Return a Faster R-CNN, or Mask R-CNN with `masks`: slim backbone, GroupNorm in the heads, small anchors."""
    model = get_config("common/models/mask_rcnn_fpn.py").model
    model.backbone = slim_resnet_fpn(depth, width, channels, ["res2", "res3", "res4", "res5"])
    model.backbone.top_block = L(LastLevelMaxPool)()
    rpn, heads = model.proposal_generator, model.roi_heads
    rpn.head.in_channels = channels
    rpn.anchor_generator.sizes = [[8], [16], [32], [64], [128]]
    # Detectron2's 512 samples of 2,000 candidates would take most of the step on such images.
    rpn.batch_size_per_image, rpn.pre_nms_topk, rpn.post_nms_topk = 128, (400, 200), (200, 100)
    heads.num_classes, heads.batch_size_per_image = num_classes, 64
    heads.box_head.input_shape = ShapeSpec(channels=channels, height=7, width=7)
    heads.box_head.conv_dims, heads.box_head.conv_norm, heads.box_head.fc_dims = [channels], "GN", [fc_dim]
    heads.box_predictor.input_shape = ShapeSpec(channels=fc_dim)
    if masks:
        heads.mask_head.input_shape = ShapeSpec(channels=channels, height=14, width=14)
        heads.mask_head.conv_dims, heads.mask_head.conv_norm = [channels, channels], "GN"
    else:
        for name in ("mask_in_features", "mask_pooler", "mask_head"):
            heads.pop(name)
    return model


def slim_panoptic_fpn(depth, width, channels, num_classes=8, sem_seg_classes=4):
    """Return the config of PanopticFPN: Mask R-CNN and the head of Semantic FPN."""
    model = slim_faster_rcnn(depth, width, channels, num_classes=num_classes, masks=True)
    model._target_ = PanopticFPN
    model.sem_seg_head = semantic_fpn_head(channels, sem_seg_classes, conv_dims=channels, loss_weight=0.5)
    # Detectron2's default drops stuff regions below 4,096 pixels, a quarter of these images.
    model.combine_stuff_area_thresh = 256
    return model
