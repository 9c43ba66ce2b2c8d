"""The teacher of CamVid: Semantic FPN on a slim ResNet-50."""

from ..common.data.camvid import dataloader
from ..common.models.slim_semantic_fpn import slim_semantic_fpn
from ..shapes.student_r18 import distill, lr_multiplier, model, optimizer, train

model.student = slim_semantic_fpn(depth=50, width=24, channels=96, num_classes=11)
train.max_iter = train.eval_period = train.checkpointer.period = 800
train.output_dir = "output/camvid/teacher_r50"
