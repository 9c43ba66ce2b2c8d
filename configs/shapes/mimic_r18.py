"""Feature mimicking on P3 to P5, the baseline of every result."""

from ..common.distill.fpn import mimic_points
from .diffkd_r18 import dataloader, distill, lr_multiplier, model, optimizer, train

model.points = mimic_points(["p3", "p4", "p5"], student_channels=64, teacher_channels=96, weight=5.0)
train.output_dir = "output/shapes/mimic_r18"
