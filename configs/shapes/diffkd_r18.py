"""DiffKD on P3 to P5: RetinaNet slim R18 from slim R50."""

from detectron2.config import LazyCall as L

from diffkd_d2.modeling.teacher import load_teacher

from ..common.distill.fpn import diffkd_points
from ..common.models.slim_retinanet import slim_retinanet
from .student_r18 import dataloader, distill, lr_multiplier, model, optimizer, train

model.teacher = L(load_teacher)(
    model=slim_retinanet(depth=50, width=24, channels=96, num_convs=4),
    weights="assets/shapes_teacher_r50.pth",
)
model.points = diffkd_points(["p3", "p4", "p5"], student_channels=64, teacher_channels=96, weight=5.0)
train.output_dir = "output/shapes/diffkd_r18"
