"""`configs/bccd/diffkd_retinanet_r18_from_mobilenetv2.py` with a 3x3 convolution before the noise matcher."""

from diffkd_variants import WideDiffKD

from ...configs.bccd.diffkd_retinanet_r18_from_mobilenetv2 import (
    dataloader,
    distill,
    lr_multiplier,
    model,
    optimizer,
    train,
)

for point in model.points:
    point.distiller._target_ = WideDiffKD
