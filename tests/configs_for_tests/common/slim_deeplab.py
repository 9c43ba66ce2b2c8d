"""The DeepLabs for images of 128 pixels, trained from scratch on one process: slim heads, plain batch norm."""

from ....configs.common.models.deeplab import deeplab, deeplab_resnet, timm_dilated

SLIM = [
    *("MODEL.SEM_SEG_HEAD.ASPP_CHANNELS", 64, "MODEL.SEM_SEG_HEAD.CONVS_DIM", 64, "MODEL.SEM_SEG_HEAD.NORM", "BN"),
    *("MODEL.SEM_SEG_HEAD.ASPP_DILATIONS", [1, 2, 3], "INPUT.CROP.ENABLED", False),
]
SLIM_RESNET = [
    *("MODEL.RESNETS.STEM_OUT_CHANNELS", 32, "MODEL.RESNETS.WIDTH_PER_GROUP", 32),
    *("MODEL.RESNETS.RES2_OUT_CHANNELS", 128),
]
SLIM_PANOPTIC = [
    *("MODEL.SEM_SEG_HEAD.HEAD_CHANNELS", 64, "MODEL.INS_EMBED_HEAD.ASPP_CHANNELS", 64),
    *("MODEL.INS_EMBED_HEAD.CONVS_DIM", 64, "MODEL.INS_EMBED_HEAD.NORM", "BN"),
    *("MODEL.INS_EMBED_HEAD.ASPP_DILATIONS", [1, 2, 3], "MODEL.PANOPTIC_DEEPLAB.STUFF_AREA", 256),
]


def slim_deeplab(kind, depth, dataset, num_classes):
    """Config of a DeepLab on a slim ResNet-50 (res5 of 1,024 channels), or on timm's ResNet-18 (512)."""
    backbone = deeplab_resnet(50, norm="BN") if depth == 50 else timm_dilated("resnet18", pretrained=False, norm="BN")
    options = [*SLIM, *(SLIM_RESNET if depth == 50 else []), *(SLIM_PANOPTIC if kind == "panoptic" else [])]
    return deeplab(kind, backbone, dataset, num_classes, options=options)
