"""DeepLabV3, DeepLabV3+ and Panoptic-DeepLab, with the options of Detectron2's projects for Cityscapes."""

from detectron2.config import LazyCall as L

from diffkd_d2.modeling.timm_backbone import timm_pixel_stats
from diffkd_d2.modeling.yaml_model import yaml_model

COMMON = [
    *("MODEL.META_ARCHITECTURE", "SemanticSegmentor", "MODEL.BACKBONE.FREEZE_AT", 0, "INPUT.FORMAT", "RGB"),
    *("MODEL.PIXEL_MEAN", [123.675, 116.28, 103.53], "MODEL.PIXEL_STD", [58.395, 57.12, 57.375]),
    *("MODEL.SEM_SEG_HEAD.LOSS_TYPE", "hard_pixel_mining", "MODEL.SEM_SEG_HEAD.CONVS_DIM", 256),
    *("MODEL.SEM_SEG_HEAD.ASPP_CHANNELS", 256, "MODEL.SEM_SEG_HEAD.ASPP_DROPOUT", 0.1, "INPUT.CROP.ENABLED", True),
    *("INPUT.CROP.TYPE", "absolute"),
    *("MODEL.SEM_SEG_HEAD.NORM", "SyncBN", "MODEL.SEM_SEG_HEAD.ASPP_DILATIONS", [6, 12, 18]),
]
STAGES = ["res2", "res3", "res5"]
PANOPTIC = ["MODEL.META_ARCHITECTURE", "PanopticDeepLab", "MODEL.RESNETS.OUT_FEATURES", STAGES]
for prefix, name, width, channels in (
    ("MODEL.SEM_SEG_HEAD", "PanopticDeepLabSemSegHead", 256, 256),
    ("MODEL.INS_EMBED_HEAD", "PanopticDeepLabInsEmbedHead", 32, 128),
):
    PANOPTIC += [f"{prefix}.NAME", name, f"{prefix}.HEAD_CHANNELS", width, f"{prefix}.CONVS_DIM", channels]
    PANOPTIC += [f"{prefix}.IN_FEATURES", STAGES, f"{prefix}.PROJECT_FEATURES", STAGES[:2]]
    PANOPTIC += [f"{prefix}.PROJECT_CHANNELS", [32, 64], f"{prefix}.COMMON_STRIDE", 4, f"{prefix}.NORM", "SyncBN"]
    PANOPTIC += [f"{prefix}.ASPP_CHANNELS", 256, f"{prefix}.ASPP_DROPOUT", 0.1, f"{prefix}.ASPP_DILATIONS", [6, 12, 18]]
OPTIONS = {
    "v3": [
        *("MODEL.SEM_SEG_HEAD.NAME", "DeepLabV3Head", "MODEL.SEM_SEG_HEAD.IN_FEATURES", ["res5"]),
        *("MODEL.SEM_SEG_HEAD.COMMON_STRIDE", 16),
    ],
    "v3_plus": [
        *("MODEL.SEM_SEG_HEAD.NAME", "DeepLabV3PlusHead", "MODEL.SEM_SEG_HEAD.IN_FEATURES", ["res2", "res5"]),
        *("MODEL.SEM_SEG_HEAD.PROJECT_FEATURES", ["res2"], "MODEL.SEM_SEG_HEAD.PROJECT_CHANNELS", [48]),
        *("MODEL.SEM_SEG_HEAD.COMMON_STRIDE", 4, "MODEL.RESNETS.OUT_FEATURES", ["res2", "res5"]),
    ],
    "panoptic": PANOPTIC,
}


def deeplab_resnet(depth, norm="SyncBN"):
    """Return options of a ResNet with a three-convolution stem and dilated res5; `depth` 101 is R103, 50 is R52."""
    return [
        *("MODEL.BACKBONE.NAME", "build_resnet_deeplab_backbone", "MODEL.RESNETS.DEPTH", depth),
        *("MODEL.RESNETS.NORM", norm, "MODEL.RESNETS.RES5_MULTI_GRID", [1, 2, 4], "MODEL.RESNETS.STRIDE_IN_1X1", False),
        *("MODEL.RESNETS.STEM_TYPE", "deeplab", "MODEL.RESNETS.STEM_OUT_CHANNELS", 128),
    ]


def timm_dilated(name, pretrained=True, norm="SyncBN"):
    """Return options of a timm backbone with a stride of 16 at the last stage, and its pixel statistics."""
    mean, std = timm_pixel_stats(name)
    return [
        *("MODEL.DIFFKD_TIMM.NORM", norm, "MODEL.PIXEL_MEAN", mean, "MODEL.PIXEL_STD", std),
        *("MODEL.BACKBONE.NAME", "build_diffkd_timm_backbone", "MODEL.DIFFKD_TIMM.NAME", name),
        *("MODEL.DIFFKD_TIMM.PRETRAINED", pretrained, "MODEL.DIFFKD_TIMM.OUTPUT_STRIDE", 16),
    ]


def deeplab(kind, backbone, dataset, num_classes=19, crop_size=(512, 1024), options=()):
    """Return the config of the model.

    Args:
        kind: "v3", "v3_plus" or "panoptic".
        backbone: of `deeplab_resnet` or `timm_dilated`.
        dataset: name of the training set, for its metadata.
        num_classes: of the label maps.
        crop_size: (height, width) of the training crops, for which the heads pool.
        options: alternating keys and values that override all others.
    """
    project = "panoptic_deeplab.add_panoptic_deeplab_config" if kind == "panoptic" else "deeplab.add_deeplab_config"
    classes = ["MODEL.SEM_SEG_HEAD.NUM_CLASSES", num_classes, "DATASETS.TRAIN", [dataset]]
    return L(yaml_model)(
        config="Base-RCNN-DilatedC5.yaml",
        opts=[*COMMON, *OPTIONS[kind], *backbone, *classes, "INPUT.CROP.SIZE", list(crop_size), *options],
        extend=[f"detectron2.projects.{project}", "diffkd_d2.modeling.timm_backbone.add_timm_config"],
    )
