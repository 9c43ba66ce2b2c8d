"""DiffKD on P2 to P6: PanopticFPN R50 1x from Detectron2's R101 3x.

Published PQ (Detectron2's MODEL_ZOO.md): teacher 43.0, student alone 39.4. With DiffKD: not measured.
"""

from detectron2.model_zoo import get_config

from diffkd_d2.evaluation.third_party import provide_panopticapi

from ..common.models.zoo import zoo_model, zoo_teacher
from .diffkd_r50 import distill, lr_multiplier, model, optimizer, train

provide_panopticapi()
dataloader = get_config("common/data/coco_panoptic_separated.py").dataloader
dataloader.evaluator[0].use_fast_impl = False
model.teacher = zoo_teacher("COCO-PanopticSegmentation/panoptic_fpn_R_101_3x")
model.student = zoo_model("COCO-PanopticSegmentation/panoptic_fpn_R_50_1x")
train.output_dir = "output/coco/diffkd_panoptic_r50"
