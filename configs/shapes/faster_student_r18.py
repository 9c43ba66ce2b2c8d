"""The two-stage student of `shapes` alone: Faster R-CNN on a slim ResNet-18."""

from ..common.data.shapes import dataloader
from ..common.models.slim_faster_rcnn import slim_faster_rcnn
from .panoptic_student_r18 import distill, lr_multiplier, model, optimizer, train

model.student = slim_faster_rcnn(depth=18, width=32, channels=64)
train.max_iter = train.eval_period = train.checkpointer.period = 800
train.output_dir = "output/shapes/faster_student_r18"
