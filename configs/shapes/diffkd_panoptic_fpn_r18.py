"""DiffKD on P2 to P6 of `shapes`: PanopticFPN slim R18 from slim R50; train teacher_panoptic_fpn_r50.py first."""

from ..common.distill.fpn import diffkd_points
from ..common.teacher import teacher_trained_by
from .alone_panoptic_fpn_r18 import dataloader, distill, lr_multiplier, model, optimizer, train

model.teacher = teacher_trained_by("teacher_panoptic_fpn_r50.py")
model.points = diffkd_points(["p2", "p3", "p4", "p5", "p6"], student_channels=64, teacher_channels=96, weight=5.0)
train.output_dir = "output/shapes/diffkd_panoptic_fpn_r18"
