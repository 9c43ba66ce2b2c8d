"""A teacher of the masks of `shapes`: PointRend on a slim ResNet-50."""

from ..common.data.shapes_mask import dataloader
from ..common.models.slim_point_rend import slim_point_rend
from .panoptic_teacher_r50 import distill, lr_multiplier, model, optimizer, train

model.student = slim_point_rend(depth=50, channels=96)
dataloader.train.total_batch_size = 16
train.output_dir = "output/shapes/point_rend_teacher_r50"
