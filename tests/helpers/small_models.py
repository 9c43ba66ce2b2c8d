"""Small models of the families that Detectron2 configures lazily or keeps in projects."""

import torch
from detectors import CLASSES, FPN
from detectron2.config import instantiate
from detectron2.layers import ShapeSpec
from detectron2.model_zoo import get_config

from diffkd_d2.modeling.yaml_model import yaml_model

DEEPLAB = "detectron2.projects.deeplab.add_deeplab_config"
BACKBONE = [
    *("MODEL.RESNETS.NORM", "BN", "MODEL.BACKBONE.FREEZE_AT", 0, "MODEL.RESNETS.STEM_OUT_CHANNELS", 16),
    *("MODEL.RESNETS.WIDTH_PER_GROUP", 8, "MODEL.RESNETS.RES2_OUT_CHANNELS", 16, "MODEL.RESNETS.RES5_DILATION", 2),
    *("MODEL.BACKBONE.NAME", "build_resnet_deeplab_backbone", "DATASETS.TRAIN", ("no_dataset",)),
    *("MODEL.SEM_SEG_HEAD.ASPP_CHANNELS", 16, "MODEL.SEM_SEG_HEAD.CONVS_DIM", 16, "MODEL.SEM_SEG_HEAD.NORM", "BN"),
    *("MODEL.SEM_SEG_HEAD.NUM_CLASSES", CLASSES, "MODEL.SEM_SEG_HEAD.ASPP_DILATIONS", [1, 2, 3]),
]
RCNN_C5 = "COCO-Detection/faster_rcnn_R_50_DC5_1x.yaml"


def deeplab_v3() -> torch.nn.Module:
    head = ("MODEL.SEM_SEG_HEAD.NAME", "DeepLabV3Head", "MODEL.SEM_SEG_HEAD.IN_FEATURES", ["res5"])
    options = [*BACKBONE, *head, "MODEL.SEM_SEG_HEAD.COMMON_STRIDE", 16, "MODEL.META_ARCHITECTURE", "SemanticSegmentor"]
    return yaml_model(RCNN_C5, options, extend=[DEEPLAB])


def fcos() -> torch.nn.Module:
    model = get_config("common/models/fcos.py").model
    model.backbone.bottom_up.freeze_at = 0
    model.num_classes, model.head.conv_dims = CLASSES, [FPN]
    model.backbone.out_channels = model.backbone.top_block.in_channels = model.backbone.top_block.out_channels = FPN
    model.head.input_shape = [ShapeSpec(channels=FPN)] * 5
    model.backbone.bottom_up.stages.depth, model.backbone.bottom_up.stages.norm = 50, "BN"
    return instantiate(model)
