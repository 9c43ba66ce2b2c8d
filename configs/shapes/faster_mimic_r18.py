"""Feature mimicking on P2 to P6 of the two-stage pair; train panoptic_teacher_r50.py first."""

from ..common.distill.fpn import mimic_points
from .faster_diffkd_r18 import dataloader, distill, levels, lr_multiplier, model, optimizer, train

model.points = mimic_points(levels, student_channels=64, teacher_channels=96, weight=5.0)
train.output_dir = "output/shapes/faster_mimic_r18"
