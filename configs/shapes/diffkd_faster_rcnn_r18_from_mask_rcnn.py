"""DiffKD on P2 to P5 of `shapes`: Faster R-CNN slim R18; train teacher_mask_rcnn_r50.py first."""

from ..common.distill.fpn import diffkd_points
from ..common.teacher import teacher_trained_by
from .alone_faster_rcnn_r18 import dataloader, distill, lr_multiplier, model, optimizer, train

model.teacher = teacher_trained_by("teacher_mask_rcnn_r50.py")
model.points = diffkd_points(["p2", "p3", "p4", "p5"], student_channels=64, teacher_channels=96, weight=5.0)
distill.balance = 5.0  # decides how hard loss_kd pulls, whatever its weight
train.output_dir = "output/shapes/diffkd_faster_rcnn_r18_from_mask_rcnn"
