"""The segmentor as student alone: Semantic FPN on a slim ResNet-18."""

from ..common.models.slim_semantic_fpn import slim_semantic_fpn
from .semantic_teacher_r50 import dataloader, distill, lr_multiplier, model, optimizer, train

model.student = slim_semantic_fpn(depth=18, width=16, channels=32, num_classes=4)
train.max_iter = train.eval_period = train.checkpointer.period = 400
train.output_dir = "output/shapes/semantic_student_r18"
