"""KD for Tiny ImageNet's twenty classes; train teacher.py first."""

from detectron2.config import LazyCall as L

from diffkd_d2.modeling.teacher import load_teacher

from ..common.distill.classes import kd_points
from .student import dataloader, distill, lr_multiplier, model, optimizer, train
from .teacher import model as teacher

model.teacher = L(load_teacher)(model=teacher.student, weights="output/tiny_imagenet/teacher/model_final.pth")
model.points = kd_points(tau=4.0, weight=1.0)
train.output_dir = "output/tiny_imagenet/kd"
