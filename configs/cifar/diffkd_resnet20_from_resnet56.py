"""DiffKD on CIFAR-100: ResNet-20 from ResNet-56; train teacher_resnet56.py first."""

from detectron2.config import LazyCall as L

from diffkd_d2.meta_arch.distilled_model import DistilledModel

from ..common.distill.classes import diffkd_points
from ..common.models.classifiers import cifar_classifier
from ..common.strategies.cifar100 import dataloader, distill, lr_multiplier, optimizer, train
from ..common.teacher import teacher_trained_by

model = L(DistilledModel)(
    student=cifar_classifier("resnet20", "layer3"),
    teacher=teacher_trained_by("teacher_resnet56.py"),
    points=diffkd_points(student_channels=64, teacher_channels=64, num_classes=100, latent_channels=64),
    shared_distiller=False,
)
train.output_dir = "output/cifar/diffkd_resnet20_from_resnet56"
