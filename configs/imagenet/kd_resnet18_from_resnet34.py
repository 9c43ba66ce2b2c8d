"""KD (tau 4, task loss weight 0.9): ResNet-18 from torchvision's ResNet-34, strategy B1."""

from ..common.distill.classes import kd_points
from ..common.models.classifiers import resnet34_teacher
from .alone_resnet18 import dataloader, distill, lr_multiplier, model, optimizer, train

model.teacher = resnet34_teacher()
model.points = kd_points(tau=4.0, weight=1.0)
model.student.loss_weight = 0.9
train.output_dir = "output/imagenet/kd_resnet18_from_resnet34"
