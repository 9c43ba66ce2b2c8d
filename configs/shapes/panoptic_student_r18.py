"""The panoptic student of `shapes` alone: PanopticFPN on a slim ResNet-18."""

from ..common.data.shapes_panoptic import dataloader
from ..common.models.slim_faster_rcnn import slim_panoptic_fpn
from .student_r18 import distill, lr_multiplier, model, optimizer, train

model.student = slim_panoptic_fpn(depth=18, width=32, channels=64)
train.max_iter = train.eval_period = train.checkpointer.period = 600
train.output_dir = "output/shapes/panoptic_student_r18"
