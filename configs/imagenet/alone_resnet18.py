"""Train ResNet-18 alone, strategy B1. Reported top-1 (torchvision's weights): 69.76. Not measured here."""

from detectron2.config import LazyCall as L

from diffkd_d2.meta_arch.distilled_model import DistilledModel

from ..common.models.classifiers import classifier
from ..common.strategies.imagenet_b1 import dataloader, distill, lr_multiplier, optimizer, train

model = L(DistilledModel)(student=classifier("torchvision/resnet18", "layer4"), points=[], shared_distiller=False)
train.output_dir = "output/imagenet/alone_resnet18"
