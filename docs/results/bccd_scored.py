"""`configs/bccd/diffkd_retinanet_r18_from_mobilenetv2.py` with the loss weighted by the teacher's class scores."""

from diffkd_variants import ScoredDiffKD

from ...configs.bccd.diffkd_retinanet_r18_from_mobilenetv2 import (
    dataloader,
    distill,
    lr_multiplier,
    model,
    optimizer,
    train,
)

for level, point in enumerate(model.points):
    point.distiller._target_ = ScoredDiffKD
    point.scores = ("head", (0, level))
