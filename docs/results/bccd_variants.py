"""`configs/bccd/diffkd_retinanet_r18.py` with the distiller of `diffkd_variants.py`; see docs/results.md."""

from diffkd_variants import VariantDiffKD

from ...configs.bccd.diffkd_retinanet_r18 import dataloader, distill, lr_multiplier, model, optimizer, train

for point in model.points:
    point.distiller._target_ = VariantDiffKD
