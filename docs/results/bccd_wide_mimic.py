"""`configs/bccd/diffkd_retinanet_r18_from_mobilenetv2.py` with Mimic after a 3x3 convolution."""

from detectron2.config import LazyCall as L
from diffkd_variants import WideMimic

from ...configs.bccd.diffkd_retinanet_r18_from_mobilenetv2 import (
    dataloader,
    distill,
    lr_multiplier,
    model,
    optimizer,
    train,
)

for point in model.points:
    point.distiller = L(WideMimic)(student_channels=64, teacher_channels=96)
