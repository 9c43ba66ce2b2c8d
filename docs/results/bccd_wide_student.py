"""A student of BCCD that can inherit its teacher's neck and head, because they are as wide; see docs/results.md."""

from ...configs.bccd.diffkd_retinanet_r18_from_mobilenetv2 import (
    dataloader,
    distill,
    lr_multiplier,
    model,
    optimizer,
    train,
)
from ...configs.common.distill.fpn import diffkd_points
from ...configs.common.models.slim_retinanet import slim_retinanet

sizes = model.student.anchor_generator.sizes
model.student = slim_retinanet(18, width=32, channels=96, num_convs=4, num_classes=3)
model.student.anchor_generator.sizes = sizes
del sizes
model.points = diffkd_points(["p3", "p4", "p5"], student_channels=96, teacher_channels=96, weight=5.0)
