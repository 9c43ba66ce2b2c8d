"""DiffKD on P2 to P5 of `shapes`: Semantic FPN slim R18 from slim R50; train teacher_semantic_fpn_r50.py first."""

from ..common.distill.fpn import diffkd_points
from ..common.teacher import teacher_trained_by
from .alone_semantic_fpn_r18 import dataloader, distill, lr_multiplier, model, optimizer, train

model.teacher = teacher_trained_by("teacher_semantic_fpn_r50.py", input_format="BGR")
model.points = diffkd_points(["p2", "p3", "p4", "p5"], student_channels=32, teacher_channels=96, weight=1.0)
train.output_dir = "output/shapes/diffkd_semantic_fpn_r18"
