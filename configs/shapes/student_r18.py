"""The student of `shapes` alone: what distillation is measured against."""

from ..common.models.slim_retinanet import slim_retinanet
from .teacher_r50 import dataloader, distill, lr_multiplier, model, optimizer, train

model.student = slim_retinanet(depth=18, width=32, channels=64, num_convs=2)
train.max_iter = 1000
train.checkpointer.period = train.eval_period = 500
train.output_dir = "output/shapes/student_r18"
