"""`configs/shapes/diffkd_retinanet_r18.py` with DiffKD's loss weighted by the teacher's class scores."""

from diffkd_variants import ScoredDiffKD

from ...configs.shapes.diffkd_retinanet_r18 import dataloader, distill, lr_multiplier, model, optimizer, train

for level, point in enumerate(model.points):
    point.distiller._target_ = ScoredDiffKD
    point.scores = ("head", (0, level))
