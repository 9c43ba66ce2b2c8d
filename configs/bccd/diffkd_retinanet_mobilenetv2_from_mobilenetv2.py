"""DiffKD on P3 to P5 for BCCD: RetinaNet on MobileNetV2 from a wider one; see teacher_retinanet_mobilenetv2.py."""

from ..common.distill.fpn import diffkd_points
from ..common.teacher import teacher_trained_by
from .alone_retinanet_mobilenetv2 import dataloader, distill, lr_multiplier, model, optimizer, train

model.teacher = teacher_trained_by("teacher_retinanet_mobilenetv2.py")
model.points = diffkd_points(["p3", "p4", "p5"], student_channels=64, teacher_channels=96, weight=5.0)
distill.balance = 5.0  # decides how hard loss_kd pulls, whatever its weight
train.output_dir = "output/bccd/diffkd_retinanet_mobilenetv2_from_mobilenetv2"
