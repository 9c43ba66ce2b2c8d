"""A segmentor as teacher: Semantic FPN on a slim ResNet-50, for the label maps of `shapes`."""

from ..common.data.shapes_sem_seg import dataloader
from ..common.models.slim_semantic_fpn import slim_semantic_fpn
from .student_r18 import distill, lr_multiplier, model, optimizer, train

model.student = slim_semantic_fpn(depth=50, width=24, channels=96, num_classes=4)
train.max_iter = train.eval_period = train.checkpointer.period = 1500
train.output_dir = "output/shapes/semantic_teacher_r50"
