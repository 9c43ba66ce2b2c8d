"""A teacher of `shapes`: FCOS on a slim ResNet-50."""

from ..common.models.slim_fcos import slim_fcos
from .teacher_r50 import dataloader, distill, lr_multiplier, model, optimizer, train

model.student = slim_fcos(depth=50, width=24, channels=96, num_convs=4)
train.output_dir = "output/shapes/fcos_teacher_r50"
