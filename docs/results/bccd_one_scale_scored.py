"""Features divided by one number, and DiffKD's loss weighted by the teacher's class scores; see bccd_diffkd.md."""

from diffkd_variants import OneScaleScoredDiffKD

from ...configs.bccd.diffkd_retinanet_r18_from_mobilenetv2 import (
    dataloader,
    distill,
    lr_multiplier,
    model,
    optimizer,
    train,
)

for level, point in enumerate(model.points):
    point.distiller._target_ = OneScaleScoredDiffKD
    point.scores = ("head", (0, level))
