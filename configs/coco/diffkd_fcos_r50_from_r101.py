"""DiffKD on P3 to P7 of COCO: FCOS R50-FPN 1x from FCOS R101-FPN 3x; train teacher_fcos_r101.py first."""

from detectron2.config import LazyCall as L

from diffkd_d2.meta_arch.distilled_model import DistilledModel

from ..common.data.coco import dataloader
from ..common.distill.coco import coco_points
from ..common.models.fcos import fcos
from ..common.strategies.coco_1x import distill, lr_multiplier, optimizer, train
from ..common.teacher import teacher_trained_by

model = L(DistilledModel)(
    student=fcos(50),
    teacher=teacher_trained_by("teacher_fcos_r101.py"),
    points=coco_points(["p3", "p4", "p5", "p6", "p7"]),
    shared_distiller=False,
)
optimizer.lr = 0.01
train.output_dir = "output/coco/diffkd_fcos_r50_from_r101"
