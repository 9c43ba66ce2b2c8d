"""`configs/bccd/diffkd_retinanet_r18_from_mobilenetv2.py` with Mimic of features that are divided by one number."""

from detectron2.config import LazyCall as L
from diffkd_variants import OneScaleMimic

from ...configs.bccd.diffkd_retinanet_r18_from_mobilenetv2 import (
    dataloader,
    distill,
    lr_multiplier,
    model,
    optimizer,
    train,
)

for point in model.points:
    point.distiller = L(OneScaleMimic)(student_channels=64, teacher_channels=96)
