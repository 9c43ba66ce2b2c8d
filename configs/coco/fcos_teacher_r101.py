"""FCOS R101-FPN 3x, a teacher to train yourself: Detectron2's zoo has no FCOS weights.

AP: not measured. Detectron2 configures FCOS R50-FPN 1x and publishes no AP of it.
"""

from detectron2.config import LazyCall as L
from detectron2.model_zoo import get_config

from diffkd_d2.meta_arch.distilled_model import DistilledModel

from .diffkd_retinanet_r50 import dataloader, distill, optimizer, train

fcos = get_config("common/models/fcos.py").model
fcos.backbone.bottom_up.stages.depth = 101
fcos.backbone.bottom_up.freeze_at = 2
model = L(DistilledModel)(student=fcos, points=[])
lr_multiplier = get_config("common/coco_schedule.py").lr_multiplier_3x
train.max_iter = 270000
train.init_checkpoint = "detectron2://ImageNetPretrained/MSRA/R-101.pkl"
train.output_dir = "output/coco/fcos_teacher_r101"
