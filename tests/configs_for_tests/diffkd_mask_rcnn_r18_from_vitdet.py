"""DiffKD on P3 to P5: Mask R-CNN slim R18 from a small ViTDet."""

from ...configs.common.distill.fpn import diffkd_points
from ...configs.common.teacher import teacher_trained_by
from ...configs.shapes.alone_mask_rcnn_r18 import dataloader, distill, lr_multiplier, model, optimizer, train

model.teacher = teacher_trained_by("teacher_vitdet.py")
model.points = diffkd_points(["p3", "p4", "p5"], student_channels=64, teacher_channels=96, weight=1.0)
train.output_dir = "output/configs_for_tests/diffkd_mask_rcnn_r18_from_vitdet"
