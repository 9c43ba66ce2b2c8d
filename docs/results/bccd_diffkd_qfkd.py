"""`configs/bccd/diffkd_retinanet_r18.py` with the class logits of QFKD beside DiffKD; see docs/results.md."""

from detectron2.config import LazyCall as L

from diffkd_d2.distillers import QualityFocalKD
from diffkd_d2.meta_arch.distill_point import DistillPoint

from ...configs.bccd.diffkd_retinanet_r18 import dataloader, distill, lr_multiplier, model, optimizer, train

logits = L(DistillPoint)(
    student="head", teacher="head", name="qfkd", levels=((0, 0), (0, 1), (0, 2)), distiller=L(QualityFocalKD)()
)
model.points = [*model.points, logits]
