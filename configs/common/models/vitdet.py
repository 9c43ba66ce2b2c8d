"""ViTDet (2203.16527); needs Detectron2's main branch."""

import importlib.util

from detectron2.config import LazyCall as L
from detectron2.model_zoo import get_config

from diffkd_d2.errors import UserError
from diffkd_d2.modeling.teacher import load_teacher

# projects/ViTDet/README.md
WEIGHTS = "https://dl.fbaipublicfiles.com/detectron2/ViTDet/COCO/mask_rcnn_vitdet_b/f325346929/model_final_61ccd1.pkl"

if importlib.util.find_spec("detectron2.modeling.backbone.vit") is None:
    raise UserError("this Detectron2 has no ViTDet: it needs the main branch, which is newer than v0.6")


def vitdet_b():
    """Return the config of Mask R-CNN on ViT-B."""
    return get_config("common/models/mask_rcnn_vitdet.py").model


def vitdet_teacher():
    """Return the config of Mask R-CNN on ViT-B with Detectron2's weights for COCO."""
    return L(load_teacher)(model=vitdet_b(), weights=WEIGHTS)
