"""PointRend (1912.08193) for images of about 128 pixels: Mask R-CNN with its mask heads, trained from scratch."""

from detectron2.config import LazyCall as L

from diffkd_d2.modeling.yaml_model import yaml_model

MASK, POINT = "MODEL.ROI_MASK_HEAD", "MODEL.POINT_HEAD"
ANCHORS = [[8], [16], [32], [64], [128]]


def slim_point_rend(depth, channels, num_classes=8, fc_dim=256):
    """Config of PointRend on a ResNet-50 of a quarter of its width or on a whole ResNet-18."""
    width = ["MODEL.RESNETS.WIDTH_PER_GROUP", 16] if depth == 50 else []
    options = [
        *("MODEL.RESNETS.DEPTH", depth, "MODEL.RESNETS.NORM", "BN", "MODEL.BACKBONE.FREEZE_AT", 0, *width),
        *("MODEL.RESNETS.RES2_OUT_CHANNELS", 64, "MODEL.FPN.OUT_CHANNELS", channels),
        *("MODEL.ANCHOR_GENERATOR.SIZES", ANCHORS, "MODEL.RPN.BATCH_SIZE_PER_IMAGE", 128),
        *("MODEL.RPN.PRE_NMS_TOPK_TRAIN", 400, "MODEL.RPN.POST_NMS_TOPK_TRAIN", 200),
        *("MODEL.RPN.PRE_NMS_TOPK_TEST", 200, "MODEL.RPN.POST_NMS_TOPK_TEST", 100),
        *("MODEL.ROI_HEADS.NUM_CLASSES", num_classes, "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE", 64),
        *("MODEL.ROI_BOX_HEAD.FC_DIM", fc_dim, "MODEL.PIXEL_STD", [57.375, 57.12, 58.395]),
        *(f"{MASK}.NAME", "PointRendMaskHead", f"{MASK}.POOLER_TYPE", "", f"{MASK}.IN_FEATURES", ["p2"]),
        *(
            f"{MASK}.CONV_DIM",
            channels,
            f"{MASK}.FC_DIM",
            fc_dim,
            f"{MASK}.NUM_FC",
            1,
            f"{MASK}.OUTPUT_SIDE_RESOLUTION",
            7,
        ),
        *(f"{MASK}.POINT_HEAD_ON", True, f"{POINT}.NUM_CLASSES", num_classes),
        *(f"{POINT}.FC_DIM", channels, f"{POINT}.IN_FEATURES", ["p2"]),
        *("TEST.DETECTIONS_PER_IMAGE", 20),  # the mask of each is refined at thousands of points
    ]
    extend = ["detectron2.projects.point_rend.add_pointrend_config"]
    return L(yaml_model)(config="COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x.yaml", opts=options, extend=extend)
