"""DiffKD on P2 to P6: Keypoint R-CNN slim R18 from slim R50."""

from ...configs.common.distill.fpn import diffkd_points
from ...configs.common.teacher import teacher_trained_by
from ...configs.shapes.alone_panoptic_fpn_r18 import distill, lr_multiplier, model, optimizer, train
from .common.shapes_keypoints import dataloader
from .common.slim_roi import slim_keypoint_rcnn

model.student = slim_keypoint_rcnn(depth=18, width=32, channels=64)
model.teacher = teacher_trained_by("teacher_keypoint_rcnn_r50.py")
model.points = diffkd_points(["p2", "p3", "p4", "p5", "p6"], student_channels=64, teacher_channels=96, weight=5.0)
train.output_dir = "output/configs_for_tests/diffkd_keypoint_rcnn_r18"
