"""DiffKD: ResNet-18 from torchvision's ResNet-34, strategy B1."""

from ..common.distill.classes import diffkd_points
from ..common.models.classifiers import resnet34_teacher
from .alone_resnet18 import dataloader, distill, lr_multiplier, model, optimizer, train

model.teacher = resnet34_teacher()
model.points = diffkd_points(student_channels=512, teacher_channels=512, num_classes=1000)
train.output_dir = "output/imagenet/diffkd_resnet18_from_resnet34"
