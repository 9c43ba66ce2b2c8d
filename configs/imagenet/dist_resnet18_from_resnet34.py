"""DIST: ResNet-18 from torchvision's ResNet-34, strategy B1."""

from ..common.distill.classes import dist_points
from ..common.models.classifiers import resnet34_teacher
from .alone_resnet18 import dataloader, distill, lr_multiplier, model, optimizer, train

model.teacher = resnet34_teacher()
model.points = dist_points(tau=1.0, weight=2.0)
train.output_dir = "output/imagenet/dist_resnet18_from_resnet34"
