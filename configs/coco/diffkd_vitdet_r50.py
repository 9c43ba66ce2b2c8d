"""DiffKD on P2 to P6: Mask R-CNN R50-FPN 1x from Detectron2's ViTDet-B; needs Detectron2's main branch.

Published box / mask AP: teacher 51.6 / 45.9 (Detectron2's projects/ViTDet/README.md), student alone 38.6 / 35.2
(MODEL_ZOO.md) on images of up to 1333 pixels; here they have up to 1024, since the teacher pads to 1024x1024.
The student alone on those, and with DiffKD: not measured.
"""

from ..common.models.vitdet import vitdet_teacher
from .diffkd_mask_r50 import dataloader, distill, lr_multiplier, model, optimizer, train

model.teacher = vitdet_teacher()
dataloader.train.mapper.augmentations[0].max_size = 1024
dataloader.test.mapper.augmentations[0].max_size = 1024
train.output_dir = "output/coco/diffkd_vitdet_r50"
