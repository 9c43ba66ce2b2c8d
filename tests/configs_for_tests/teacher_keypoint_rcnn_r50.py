"""Keypoint R-CNN on a slim ResNet-50."""

from ...configs.shapes.teacher_panoptic_fpn_r50 import distill, lr_multiplier, model, optimizer, train
from .common.shapes_keypoints import dataloader
from .common.slim_roi import slim_keypoint_rcnn

model.student = slim_keypoint_rcnn(depth=50, width=24, channels=96)
dataloader.train.total_batch_size = 16
train.output_dir = "output/configs_for_tests/teacher_keypoint_rcnn_r50"
