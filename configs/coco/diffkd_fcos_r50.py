"""DiffKD on P3 to P7: FCOS R50-FPN 1x from FCOS R101-FPN 3x; train fcos_teacher_r101.py first.

AP of teacher, student alone and with DiffKD: not measured (Detectron2's zoo has no FCOS weights).
"""

from detectron2.config import LazyCall as L
from detectron2.model_zoo import get_config

from diffkd_d2.modeling.teacher import load_teacher

from .diffkd_retinanet_r50 import dataloader, distill, lr_multiplier, model, optimizer, train
from .fcos_teacher_r101 import fcos

model.teacher = L(load_teacher)(model=fcos, weights="output/coco/fcos_teacher_r101/model_final.pth")
model.student = get_config("common/models/fcos.py").model
model.student.backbone.bottom_up.freeze_at = 2
train.output_dir = "output/coco/diffkd_fcos_r50"
