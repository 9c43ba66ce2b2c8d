"""The classification folder of `shapes`: objects in the middle of 64 px; generated when it is first used."""

from detectron2.config import LazyCall as L
from torchvision.transforms import v2

from diffkd_d2.classification.datasets import shapes_crops

from .tiny_imagenet20 import dataloader

dataloader.train.dataset.source = L(shapes_crops)(split="train")
dataloader.test.dataset.source = L(shapes_crops)(split="val")
# Other objects may stand beside the labelled one, so that it must stay near the middle; without rotation and colour the
# 1,600 images are learned by heart.
augment = [
    L(v2.RandomAffine)(degrees=180, translate=[0.06, 0.06], scale=[0.8, 1.2], fill=128),
    L(v2.RandomHorizontalFlip)(),
    L(v2.PILToTensor)(),
    L(v2.RandomChannelPermutation)(),
]
dataloader.train.dataset.transform = L(v2.Compose)(transforms=augment)
