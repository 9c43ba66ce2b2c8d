"""KD between the classifiers of `shapes`; train cls_teacher_mobilenetv2.py first."""

from detectron2.config import LazyCall as L

from diffkd_d2.modeling.teacher import load_teacher

from ..common.distill.classes import kd_points
from .cls_student_r10 import dataloader, distill, lr_multiplier, model, optimizer, train
from .cls_teacher_mobilenetv2 import model as teacher

model.teacher = L(load_teacher)(model=teacher.student, weights="output/shapes/cls_teacher_mobilenetv2/model_final.pth")
model.points = kd_points(tau=4.0, weight=1.0)
train.output_dir = "output/shapes/cls_kd_r10"
