"""DiffKD on CIFAR-100: WRN-40-1 from WRN-40-2; train teacher_wrn40_2.py first."""

from ..common.distill.classes import diffkd_points
from ..common.teacher import teacher_trained_by
from .alone_wrn40_1 import dataloader, distill, lr_multiplier, model, optimizer, train

model.teacher = teacher_trained_by("teacher_wrn40_2.py")
model.points = diffkd_points(student_channels=64, teacher_channels=128, num_classes=100, latent_channels=128)
train.output_dir = "output/cifar/diffkd_wrn40_1_from_wrn40_2"
