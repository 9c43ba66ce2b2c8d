"""Feature mimicking on P2 to P5 of the segmentors; train semantic_teacher_r50.py first."""

from ..common.distill.fpn import mimic_points
from .semantic_diffkd_r18 import dataloader, distill, levels, lr_multiplier, model, optimizer, train

model.points = mimic_points(levels, student_channels=32, teacher_channels=96, weight=1.0)
train.output_dir = "output/shapes/semantic_mimic_r18"
