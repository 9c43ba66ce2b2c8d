"""Cascade R-CNN on a slim ResNet-50."""

from ...configs.shapes.teacher_retinanet_r50 import dataloader, distill, lr_multiplier, model, optimizer, train
from .common.slim_roi import slim_cascade_rcnn

model.student = slim_cascade_rcnn(depth=50, width=24, channels=96)
train.output_dir = "output/configs_for_tests/teacher_cascade_rcnn_r50"
