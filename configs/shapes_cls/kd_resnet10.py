"""KD between the classifiers of `shapes`; train teacher_mobilenetv2.py first."""

from ..common.distill.classes import kd_points
from ..common.teacher import teacher_trained_by
from .alone_resnet10 import dataloader, distill, lr_multiplier, model, optimizer, train

model.teacher = teacher_trained_by("teacher_mobilenetv2.py")
model.points = kd_points(tau=4.0, weight=1.0)
train.output_dir = "output/shapes_cls/kd_resnet10"
