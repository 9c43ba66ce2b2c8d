"""DiffKD on P2 to P6: Mask R-CNN R50-FPN 1x from Detectron2's R101-FPN of 400 epochs with large-scale jitter.

Published box / mask AP (Detectron2's MODEL_ZOO.md): teacher 48.9 / 43.7, student alone 38.6 / 35.2.
With DiffKD: not measured. The teacher was trained on images of 1024 px with jitter; it sees the student's here.
"""

from ..common.models.zoo import zoo_teacher
from .diffkd_mask_r50 import dataloader, distill, lr_multiplier, model, optimizer, train

model.teacher = zoo_teacher("new_baselines/mask_rcnn_R_101_FPN_400ep_LSJ", lazy=True)
train.output_dir = "output/coco/diffkd_mask_lsj_r50"
