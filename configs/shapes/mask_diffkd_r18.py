"""DiffKD on P3 to P5: Mask R-CNN slim R18 from the RetinaNet slim R50 of assets/."""

from .faster_diffkd_r18 import model as faster
from .mask_student_r18 import dataloader, distill, lr_multiplier, model, optimizer, train

model.teacher, model.points = faster.teacher, faster.points
train.output_dir = "output/shapes/mask_diffkd_r18"
