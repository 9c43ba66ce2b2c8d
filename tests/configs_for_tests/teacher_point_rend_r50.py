"""PointRend on a slim ResNet-50."""

from ...configs.common.data.shapes_mask import dataloader
from ...configs.shapes.teacher_panoptic_fpn_r50 import distill, lr_multiplier, model, optimizer, train
from .common.slim_point_rend import slim_point_rend

model.student = slim_point_rend(depth=50, channels=96)
dataloader.train.total_batch_size = 16
train.output_dir = "output/configs_for_tests/teacher_point_rend_r50"
