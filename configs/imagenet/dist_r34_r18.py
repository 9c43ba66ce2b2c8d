"""DIST: ResNet-18 from torchvision's ResNet-34, strategy B1.

Reported top-1 (README of hunto/DIST_KD): teacher 73.31, student alone 69.76, with DIST 72.07. Not measured here.
"""

from ..common.distill.classes import dist_points
from .diffkd_r34_r18 import dataloader, distill, lr_multiplier, model, optimizer, train

model.points = dist_points(tau=1.0, weight=2.0)
train.output_dir = "output/imagenet/dist_r34_r18"
