"""DiffKD on P3 to P7: RetinaNet R50-FPN 1x from Detectron2's R101-FPN 3x.

Published box AP (Detectron2's MODEL_ZOO.md): teacher 40.4, student alone 37.4. With DiffKD: not measured.
"""

from ..common.distill.fpn import diffkd_points
from ..common.models.zoo import zoo_model, zoo_teacher
from .diffkd_r50 import dataloader, distill, lr_multiplier, model, optimizer, train

model.teacher = zoo_teacher("COCO-Detection/retinanet_R_101_FPN_3x")
model.student = zoo_model("COCO-Detection/retinanet_R_50_FPN_1x")
model.points = diffkd_points(["p3", "p4", "p5", "p6", "p7"], latent_channels=64)
optimizer.lr = 0.01
train.output_dir = "output/coco/diffkd_retinanet_r50"
