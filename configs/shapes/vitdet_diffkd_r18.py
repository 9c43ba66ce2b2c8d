"""DiffKD on P3 to P5: Mask R-CNN slim R18 from a small ViTDet; train vitdet_teacher.py first."""

from detectron2.config import LazyCall as L

from diffkd_d2.modeling.teacher import load_teacher

from .mask_diffkd_r18 import dataloader, distill, lr_multiplier, model, optimizer, train
from .vitdet_teacher import model as teacher

model.teacher = L(load_teacher)(model=teacher.student, weights="output/shapes/vitdet_teacher/model_final.pth")
train.output_dir = "output/shapes/vitdet_diffkd_r18"
