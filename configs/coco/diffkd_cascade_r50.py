"""DiffKD on P2 to P6: Faster R-CNN R50-FPN 1x from Detectron2's Cascade Mask R-CNN R50-FPN 3x.

Published box AP (Detectron2's MODEL_ZOO.md): teacher 44.3, student alone 37.9. With DiffKD: not measured.
"""

from ..common.models.zoo import zoo_teacher
from .diffkd_r50 import dataloader, distill, lr_multiplier, model, optimizer, train

model.teacher = zoo_teacher("Misc/cascade_mask_rcnn_R_50_FPN_3x")
train.output_dir = "output/coco/diffkd_cascade_r50"
