"""`configs/bccd/diffkd_retinanet_r18_from_mobilenetv2.py` with ScoreMimic without its scores."""

from detectron2.config import LazyCall as L
from diffkd_variants import Unweighted

from ...configs.bccd.diffkd_retinanet_r18_from_mobilenetv2 import (
    dataloader,
    distill,
    lr_multiplier,
    model,
    optimizer,
    train,
)

for level, point in enumerate(model.points):
    point.distiller = L(Unweighted)(student_channels=64, teacher_channels=96)
    point.scores = ("head", (0, level))
