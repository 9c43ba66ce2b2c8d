"""DiffKD on P2 to P6: Faster R-CNN slim R18 from PanopticFPN slim R50; train panoptic_teacher_r50.py first."""

from .faster_student_r18 import dataloader, distill, lr_multiplier, model, optimizer, train
from .panoptic_diffkd_r18 import levels
from .panoptic_diffkd_r18 import model as panoptic

model.teacher, model.points = panoptic.teacher, panoptic.points
train.output_dir = "output/shapes/faster_diffkd_r18"
