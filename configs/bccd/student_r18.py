"""The student of BCCD alone: RetinaNet on a slim ResNet-18, short training."""

from ..common.models.slim_retinanet import slim_retinanet
from .teacher_r50 import dataloader, distill, lr_multiplier, model, optimizer, train

anchors = model.student.anchor_generator
model.student = slim_retinanet(depth=18, width=32, channels=64, num_convs=2, num_classes=3)
model.student.anchor_generator = anchors
train.max_iter = train.eval_period = train.checkpointer.period = 400
train.output_dir = "output/bccd/student_r18"
