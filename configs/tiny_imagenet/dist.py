"""DIST for Tiny ImageNet's twenty classes; train teacher.py first."""

from ..common.distill.classes import dist_points
from .kd import dataloader, distill, lr_multiplier, model, optimizer, train

model.points = dist_points()
train.output_dir = "output/tiny_imagenet/dist"
