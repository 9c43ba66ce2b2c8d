"""DIST (tau 4, weight 2) on CIFAR-100: WRN-40-1 from WRN-40-2; train teacher_wrn40_2.py first. Not measured here."""

from ..common.distill.classes import dist_points
from ..common.teacher import teacher_trained_by
from .alone_wrn40_1 import dataloader, distill, lr_multiplier, model, optimizer, train

model.teacher = teacher_trained_by("teacher_wrn40_2.py")
model.points = dist_points(tau=4.0, weight=2.0)
train.output_dir = "output/cifar/dist_wrn40_1_from_wrn40_2"
