"""DIST for Tiny ImageNet's twenty classes; train teacher_resnet18.py first."""

from ..common.distill.classes import dist_points
from ..common.teacher import teacher_trained_by
from .alone_resnet10 import dataloader, distill, lr_multiplier, model, optimizer, train

model.teacher = teacher_trained_by("teacher_resnet18.py")
model.points = dist_points()
train.output_dir = "output/tiny_imagenet/dist_resnet10"
