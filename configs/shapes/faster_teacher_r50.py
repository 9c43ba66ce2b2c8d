"""A two-stage teacher of `shapes`: Faster R-CNN on a slim ResNet-50."""

from ..common.models.slim_faster_rcnn import slim_faster_rcnn
from .teacher_r50 import dataloader, distill, lr_multiplier, model, optimizer, train

model.student = slim_faster_rcnn(depth=50, width=24, channels=96)
train.output_dir = "output/shapes/faster_teacher_r50"
