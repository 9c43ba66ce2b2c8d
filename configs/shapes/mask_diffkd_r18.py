"""DiffKD on P2 to P6: Mask R-CNN slim R18 from PanopticFPN slim R50; train panoptic_teacher_r50.py first."""

from .mask_student_r18 import dataloader, distill, lr_multiplier, model, optimizer, train
from .panoptic_diffkd_r18 import model as panoptic

model.teacher, model.points = panoptic.teacher, panoptic.points
train.output_dir = "output/shapes/mask_diffkd_r18"
