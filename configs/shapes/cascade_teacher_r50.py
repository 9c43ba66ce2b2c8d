"""A teacher of `shapes`: Cascade R-CNN on a slim ResNet-50."""

from ..common.models.slim_faster_rcnn import slim_cascade_rcnn
from .teacher_r50 import dataloader, distill, lr_multiplier, model, optimizer, train

model.student = slim_cascade_rcnn(depth=50, width=24, channels=96)
train.output_dir = "output/shapes/cascade_teacher_r50"
