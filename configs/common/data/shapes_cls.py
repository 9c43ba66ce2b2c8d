"""The classification folder of `shapes`: single objects, 64 px; generated when it is first used."""

from detectron2.config import LazyCall as L

from diffkd_d2.classification.datasets import shapes_crops

from .tiny_imagenet20 import dataloader

dataloader.train.dataset.source = L(shapes_crops)(split="train")
dataloader.test.dataset.source = L(shapes_crops)(split="val")
