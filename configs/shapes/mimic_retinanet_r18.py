"""Mimic on P3 to P5 of `shapes`: RetinaNet slim R18 from slim R50."""

from ..common.distill.fpn import mimic_points
from ..common.teacher import teacher_trained_by
from .alone_retinanet_r18 import dataloader, distill, lr_multiplier, model, optimizer, train

model.teacher = teacher_trained_by("teacher_retinanet_r50.py", weights="assets/shapes_teacher_r50.pth")
model.points = mimic_points(["p3", "p4", "p5"], student_channels=64, teacher_channels=96, weight=5.0)
train.output_dir = "output/shapes/mimic_retinanet_r18"
