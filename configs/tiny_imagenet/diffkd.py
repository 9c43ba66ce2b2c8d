"""DiffKD on the last feature map and the logits, for Tiny ImageNet's twenty classes; train teacher.py first."""

from ..common.distill.classes import diffkd_points
from .kd import dataloader, distill, lr_multiplier, model, optimizer, train

model.points = diffkd_points(student_channels=128, teacher_channels=256, num_classes=20, latent_channels=128)
train.output_dir = "output/tiny_imagenet/diffkd"
