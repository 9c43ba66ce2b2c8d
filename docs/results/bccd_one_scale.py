"""`configs/bccd/diffkd_retinanet_r18_from_mobilenetv2.py` with features that are divided by one number."""

from diffkd_variants import OneScaleDiffKD

from ...configs.bccd.diffkd_retinanet_r18_from_mobilenetv2 import (
    dataloader,
    distill,
    lr_multiplier,
    model,
    optimizer,
    train,
)

for point in model.points:
    point.distiller._target_ = OneScaleDiffKD
