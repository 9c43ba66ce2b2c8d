"""DiffKD on last feature map and logits between the classifiers of `shapes`; train cls_teacher_mobilenetv2.py first."""

from ..common.distill.classes import diffkd_points
from .cls_kd_r10 import dataloader, distill, lr_multiplier, model, optimizer, train

model.points = diffkd_points(
    student_channels=128, teacher_channels=1280, num_classes=8, latent_channels=128, weights=(10.0, 1.0)
)
train.output_dir = "output/shapes/cls_diffkd_r10"
