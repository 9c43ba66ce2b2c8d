"""DiffKD on P2 to P6: Faster R-CNN R50-FPN 1x from Detectron2's X101-32x8d-FPN 3x.

Published box AP (Detectron2's MODEL_ZOO.md): teacher 43.0, student alone 37.9. With DiffKD: not measured.
"""

from ..common.models.zoo import zoo_teacher
from .diffkd_r50 import dataloader, distill, lr_multiplier, model, optimizer, train

model.teacher = zoo_teacher("COCO-Detection/faster_rcnn_X_101_32x8d_FPN_3x")
train.output_dir = "output/coco/diffkd_x101_r50"
