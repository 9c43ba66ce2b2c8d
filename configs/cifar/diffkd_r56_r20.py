"""DiffKD on CIFAR-100: ResNet-20 from ResNet-56; train teacher_r56.py first.

What the paper reports was not at hand. Not measured here.
"""

from detectron2.config import LazyCall as L

from diffkd_d2.modeling.teacher import load_teacher

from ..common.distill.classes import diffkd_points
from ..common.models.classifiers import cifar_classifier
from .teacher_r56 import dataloader, distill, lr_multiplier, model, optimizer, train

model.teacher = L(load_teacher)(model={**model.student}, weights="output/cifar/teacher_r56/model_final.pth")
model.student = cifar_classifier("resnet20", "layer3")
model.points = diffkd_points(student_channels=64, teacher_channels=64, num_classes=100, latent_channels=64)
train.output_dir = "output/cifar/diffkd_r56_r20"
