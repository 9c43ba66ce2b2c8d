"""DiffKD: ResNet-18 from torchvision's ResNet-34, strategy B1.

Reported top-1 (README of hunto/DiffKD): teacher 73.31, student alone 69.76, with DiffKD 72.20. Not measured here.
"""

from detectron2.config import LazyCall as L

from diffkd_d2.meta_arch.distilled_model import DistilledModel

from ..common.distill.classes import diffkd_points
from ..common.models.classifiers import classifier, resnet34_teacher
from ..common.strategies.imagenet_b1 import dataloader, distill, lr_multiplier, optimizer, train

model = L(DistilledModel)(
    student=classifier("torchvision/resnet18", "layer4"),
    teacher=resnet34_teacher,
    points=diffkd_points(student_channels=512, teacher_channels=512, num_classes=1000),
)
train.output_dir = "output/imagenet/diffkd_r34_r18"
