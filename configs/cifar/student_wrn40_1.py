"""WRN-40-1 on CIFAR-100 alone. Top-1: not measured here."""

from ..common.models.classifiers import cifar_classifier
from .teacher_wrn40_2 import dataloader, distill, lr_multiplier, model, optimizer, train

model.student = cifar_classifier("wrn_40_1", "relu")
train.output_dir = "output/cifar/student_wrn40_1"
