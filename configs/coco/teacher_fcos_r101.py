"""Train a teacher for COCO, since Detectron2's zoo has no FCOS: FCOS R101-FPN 3x."""

from detectron2.config import LazyCall as L
from detectron2.model_zoo import get_config

from diffkd_d2.meta_arch.distilled_model import DistilledModel

from ..common.data.coco import dataloader
from ..common.models.fcos import fcos
from ..common.strategies.coco_1x import distill, optimizer, train

model = L(DistilledModel)(student=fcos(101), points=[], shared_distiller=False)
optimizer.lr = 0.01
lr_multiplier = get_config("common/coco_schedule.py").lr_multiplier_3x
train.max_iter = 270000
train.init_checkpoint = "detectron2://ImageNetPretrained/MSRA/R-101.pkl"
train.output_dir = "output/coco/teacher_fcos_r101"
