"""A panoptic teacher of `shapes`: PanopticFPN on a slim ResNet-50."""

from ..common.data.shapes_panoptic import dataloader
from ..common.models.slim_faster_rcnn import slim_panoptic_fpn
from .teacher_r50 import distill, lr_multiplier, model, optimizer, train

model.student = slim_panoptic_fpn(depth=50, width=24, channels=96)
dataloader.train.total_batch_size = 16
train.max_iter = train.eval_period = 1500
train.output_dir = "output/shapes/panoptic_teacher_r50"
