"""DiffKD on CIFAR-100: WRN-40-1 from WRN-40-2; train teacher_wrn40_2.py first.

Reported top-1 with DiffKD (public notes on the paper's table 9): 74.09. Not measured here. The authors released no
DiffKD strategy for CIFAR: weights are those of their ImageNet strategies, the latent is as wide as the teacher.
"""

from detectron2.config import LazyCall as L

from diffkd_d2.modeling.teacher import load_teacher

from ..common.distill.classes import diffkd_points
from .student_wrn40_1 import dataloader, distill, lr_multiplier, model, optimizer, train
from .teacher_wrn40_2 import model as teacher

model.teacher = L(load_teacher)(model=teacher.student, weights="output/cifar/teacher_wrn40_2/model_final.pth")
model.points = diffkd_points(student_channels=64, teacher_channels=128, num_classes=100, latent_channels=128)
train.output_dir = "output/cifar/diffkd_wrn40_2_wrn40_1"
