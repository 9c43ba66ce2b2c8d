"""Feature mimicking on P3 to P5 of the pair of faster_diffkd_r18.py."""

from ..common.distill.fpn import mimic_points
from .faster_diffkd_r18 import dataloader, distill, levels, lr_multiplier, model, optimizer, train

model.points = mimic_points(levels, student_channels=64, teacher_channels=96, weight=1.0)
train.output_dir = "output/shapes/faster_mimic_r18"
