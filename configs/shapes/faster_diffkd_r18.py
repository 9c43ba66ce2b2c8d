"""DiffKD on P2 to P6: Faster R-CNN slim R18 from slim R50; train faster_teacher_r50.py first."""

from detectron2.config import LazyCall as L

from diffkd_d2.teacher import load_teacher

from ..common.distill.fpn import diffkd_points
from ..common.models.slim_faster_rcnn import slim_faster_rcnn
from .faster_student_r18 import dataloader, distill, lr_multiplier, model, optimizer, train

model.teacher = L(load_teacher)(
    model=slim_faster_rcnn(depth=50, width=24, channels=96),
    weights="output/shapes/faster_teacher_r50/model_final.pth",
)
levels = ["p2", "p3", "p4", "p5", "p6"]
model.points = diffkd_points(levels, student_channels=64, teacher_channels=96, weight=5.0)
train.output_dir = "output/shapes/faster_diffkd_r18"
