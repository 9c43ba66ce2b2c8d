"""DiffKD: MobileNetV1 from torchvision's ResNet-50, strategy B1.

Reported top-1: teacher 76.16, student alone 70.13, with DiffKD 73.62 (public notes on the paper; the README of
hunto/DiffKD says 73.24). Not measured here. timm's MobileNetV1 stands in for the authors' own.
"""

from ..common.distill.classes import diffkd_points
from ..common.models.classifiers import classifier, resnet50_teacher
from .diffkd_r34_r18 import dataloader, distill, lr_multiplier, model, optimizer, train

stats = dict(pixel_mean=[123.675, 116.28, 103.53], pixel_std=[58.395, 57.12, 57.375])
model.student = classifier("timm/mobilenetv1_100", "blocks", **stats)
model.teacher = resnet50_teacher
model.points = diffkd_points(student_channels=1024, teacher_channels=2048, num_classes=1000)
train.output_dir = "output/imagenet/diffkd_r50_mbv1"
