"""FCOS on a slim ResNet-50."""

from ...configs.shapes.teacher_retinanet_r50 import dataloader, distill, lr_multiplier, model, optimizer, train
from .common.slim_fcos import slim_fcos

model.student = slim_fcos(depth=50, width=24, channels=96, num_convs=4)
train.output_dir = "output/configs_for_tests/teacher_fcos_r50"
