"""DiffKD on res5: DeepLabV3 on timm's ResNet-18 from a slim R50."""

from ...configs.common.distill.fpn import diffkd_points
from ...configs.common.teacher import teacher_trained_by
from ...configs.shapes.alone_semantic_fpn_r18 import dataloader, distill, lr_multiplier, model, optimizer, train
from .common.slim_deeplab import slim_deeplab

dataloader.train.mapper.image_format = dataloader.test.mapper.image_format = "RGB"
model.student = slim_deeplab("v3", 18, dataloader.train.dataset.names, num_classes=4)
model.teacher = teacher_trained_by("teacher_deeplab_v3_r50.py")
model.points = diffkd_points(["res5"], student_channels=512, teacher_channels=1024, latent_channels=128)
train.output_dir = "output/configs_for_tests/diffkd_deeplab_v3_r18"
