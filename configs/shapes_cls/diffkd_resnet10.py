"""DiffKD on last feature map and logits between the classifiers of `shapes`; train teacher_mobilenetv2.py first."""

from ..common.distill.classes import diffkd_points
from ..common.teacher import teacher_trained_by
from .alone_resnet10 import dataloader, distill, lr_multiplier, model, optimizer, train

model.teacher = teacher_trained_by("teacher_mobilenetv2.py")
model.points = diffkd_points(
    student_channels=128, teacher_channels=1280, num_classes=8, latent_channels=128, weights=(10.0, 1.0)
)
train.output_dir = "output/shapes_cls/diffkd_resnet10"
