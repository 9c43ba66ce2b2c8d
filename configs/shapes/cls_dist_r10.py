"""DIST between the classifiers of `shapes`; train cls_teacher_mobilenetv2.py first."""

from ..common.distill.classes import dist_points
from .cls_kd_r10 import dataloader, distill, lr_multiplier, model, optimizer, train

model.points = dist_points()
train.output_dir = "output/shapes/cls_dist_r10"
