"""DiffKD on res5: Panoptic-DeepLab on timm's ResNet-18 from a slim R50."""

from ...configs.common.distill.fpn import diffkd_points
from ...configs.common.teacher import teacher_trained_by
from ...configs.shapes.alone_panoptic_fpn_r18 import distill, lr_multiplier, model, optimizer, train
from .common.shapes_panoptic_deeplab import dataloader
from .common.slim_deeplab import slim_deeplab

model.student = slim_deeplab("panoptic", 18, dataloader.train.dataset.names, num_classes=11)
model.teacher = teacher_trained_by("teacher_panoptic_deeplab_r50.py")
model.points = diffkd_points(["res5"], student_channels=512, teacher_channels=1024, latent_channels=128)
train.output_dir = "output/configs_for_tests/diffkd_panoptic_deeplab_r18"
