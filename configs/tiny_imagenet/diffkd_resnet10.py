"""DiffKD on last feature map and logits for Tiny ImageNet's twenty classes; train teacher_resnet18.py first."""

from ..common.distill.classes import diffkd_points
from ..common.teacher import teacher_trained_by
from .alone_resnet10 import dataloader, distill, lr_multiplier, model, optimizer, train

model.teacher = teacher_trained_by("teacher_resnet18.py")
# On the feature map, weights of 3, 10 and 30 gave more than 1 in single runs.
model.points = diffkd_points(
    student_channels=128, teacher_channels=256, num_classes=20, latent_channels=128, weights=(10.0, 1.0)
)
train.output_dir = "output/tiny_imagenet/diffkd_resnet10"
