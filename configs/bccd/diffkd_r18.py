"""DiffKD on P3 to P5 for BCCD: RetinaNet slim R18 from slim R50; train teacher_r50.py first."""

from detectron2.config import LazyCall as L

from diffkd_d2.modeling.teacher import load_teacher

from ..common.distill.fpn import diffkd_points
from .student_r18 import dataloader, distill, lr_multiplier, model, optimizer, train
from .teacher_r50 import model as teacher

model.teacher = L(load_teacher)(model=teacher.student, weights="output/bccd/teacher_r50/model_final.pth")
model.points = diffkd_points(["p3", "p4", "p5"], student_channels=64, teacher_channels=96, weight=5.0)
train.output_dir = "output/bccd/diffkd_r18"
