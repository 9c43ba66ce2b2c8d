"""ResNet-56 on CIFAR-100, a teacher to train yourself. Top-1: not measured here."""

from ..common.models.classifiers import cifar_classifier
from .teacher_wrn40_2 import dataloader, distill, lr_multiplier, model, optimizer, train

model.student = cifar_classifier("resnet56", "layer3")
train.output_dir = "output/cifar/teacher_r56"
