"""The classification folder of `shapes`: centred objects, 64 px; generated on first use."""

from detectron2.config import LazyCall as L
from torchvision.transforms import v2

from diffkd_d2.classification.datasets import shapes_crops

from .tiny_imagenet20 import dataloader

dataloader.train.dataset.source = L(shapes_crops)(split="train")
dataloader.test.dataset.source = L(shapes_crops)(split="val")
# Other objects may be next to the labelled one, so it must stay near the middle. Without rotation and colour jitter the
# networks memorise the 1,600 images.
augment = [
    L(v2.RandomAffine)(degrees=180, translate=[0.06, 0.06], scale=[0.8, 1.2], fill=128),
    L(v2.RandomHorizontalFlip)(),
    L(v2.PILToTensor)(),
    L(v2.RandomChannelPermutation)(),
]
dataloader.train.dataset.transform = L(v2.Compose)(transforms=augment)
