"""Detectron2's 1x schedule for COCO: SGD, 90,000 iterations of 16 images, from a ResNet-50 trained on ImageNet."""

from detectron2.model_zoo import get_config

from ..optim import SGD as optimizer
from ..train import distill, train

lr_multiplier = get_config("common/coco_schedule.py").lr_multiplier_1x
train.init_checkpoint = "detectron2://ImageNetPretrained/MSRA/R-50.pkl"
