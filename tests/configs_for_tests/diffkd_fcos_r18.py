"""DiffKD on P3 to P5: FCOS slim R18 from slim R50."""

from ...configs.common.distill.fpn import diffkd_points
from ...configs.common.teacher import teacher_trained_by
from ...configs.shapes.alone_retinanet_r18 import dataloader, distill, lr_multiplier, model, optimizer, train
from .common.slim_fcos import slim_fcos

model.student = slim_fcos(depth=18, width=32, channels=64, num_convs=2)
model.teacher = teacher_trained_by("teacher_fcos_r50.py", input_format="BGR")
model.points = diffkd_points(["p3", "p4", "p5"], student_channels=64, teacher_channels=96, weight=5.0)
train.output_dir = "output/configs_for_tests/diffkd_fcos_r18"
