"""The teacher of BCCD: RetinaNet on a slim ResNet-50, long training."""

from ..common.data.bccd import dataloader
from ..common.models.slim_retinanet import slim_retinanet
from ..shapes.student_r18 import distill, lr_multiplier, model, optimizer, train

model.student = slim_retinanet(depth=50, width=24, channels=96, num_convs=4, num_classes=3)
model.student.anchor_generator.sizes = [[20, 25, 32], [40, 50, 64], [80, 100, 126]]
train.max_iter = train.eval_period = train.checkpointer.period = 1200
train.output_dir = "output/bccd/teacher_r50"
