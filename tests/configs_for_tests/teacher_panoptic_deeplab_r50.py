"""Panoptic-DeepLab on a slim ResNet-50."""

from ...configs.shapes.teacher_panoptic_fpn_r50 import distill, lr_multiplier, model, optimizer, train
from .common.shapes_panoptic_deeplab import dataloader
from .common.slim_deeplab import slim_deeplab

model.student = slim_deeplab("panoptic", 50, dataloader.train.dataset.names, num_classes=11)
train.output_dir = "output/configs_for_tests/teacher_panoptic_deeplab_r50"
