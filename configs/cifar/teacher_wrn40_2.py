"""Train WRN-40-2 on CIFAR-100, a teacher. Top-1: not measured here."""

from detectron2.config import LazyCall as L

from diffkd_d2.meta_arch.distilled_model import DistilledModel

from ..common.models.classifiers import cifar_classifier
from ..common.strategies.cifar100 import dataloader, distill, lr_multiplier, optimizer, train

model = L(DistilledModel)(student=cifar_classifier("wrn_40_2", "relu"), points=[], shared_distiller=False)
train.output_dir = "output/cifar/teacher_wrn40_2"
