"""DiffKD on P2 to P6: PointRend R18 from slim R50."""

from ...configs.common.data.shapes_mask import dataloader
from ...configs.common.distill.fpn import diffkd_points
from ...configs.common.teacher import teacher_trained_by
from ...configs.shapes.alone_panoptic_fpn_r18 import distill, lr_multiplier, model, optimizer, train
from .common.slim_point_rend import slim_point_rend

model.student = slim_point_rend(depth=18, channels=64)
model.teacher = teacher_trained_by("teacher_point_rend_r50.py")
model.points = diffkd_points(["p2", "p3", "p4", "p5", "p6"], student_channels=64, teacher_channels=96, weight=5.0)
train.output_dir = "output/configs_for_tests/diffkd_point_rend_r18"
