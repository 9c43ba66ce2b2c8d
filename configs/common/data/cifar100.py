"""CIFAR-100 in torchvision's layout: padded crops and flips.

Expected under DETECTRON2_DATASETS: cifar-100-python, as published.
"""

from detectron2.config import LazyCall as L
from torchvision.transforms import v2

from diffkd_d2.classification.datasets import cifar

from .tiny_imagenet20 import dataloader

dataloader.train.dataset.source = L(cifar)(root="", split="train", num_classes=100)
dataloader.test.dataset.source = L(cifar)(root="", split="val", num_classes=100)
augment = [L(v2.RandomCrop)(size=32, padding=4), L(v2.RandomHorizontalFlip)(), L(v2.PILToTensor)()]
dataloader.train.dataset.transform = L(v2.Compose)(transforms=augment)
dataloader.test.dataset.transform = L(v2.PILToTensor)()
