"""DiffKD on P3 to P5: Faster R-CNN slim R18 from the RetinaNet slim R50 of assets/."""

from ..common.distill.fpn import diffkd_points
from .diffkd_r18 import model as retinanet
from .faster_student_r18 import dataloader, distill, lr_multiplier, model, optimizer, train

levels = ["p3", "p4", "p5"]
model.teacher = retinanet.teacher
model.points = diffkd_points(levels, student_channels=64, teacher_channels=96, weight=1.0)
train.output_dir = "output/shapes/faster_diffkd_r18"
