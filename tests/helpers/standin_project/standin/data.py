"""The project's dataset and mapper."""

import detectron2.data.transforms as T
from detectron2.data import DatasetMapper

from diffkd_d2.datasets.shapes import register_shapes

register_shapes()


class StandInMapper(DatasetMapper):
    """Detectron2's with the project's own augmentation."""

    def __init__(self, cfg, is_train=True):
        augmentations = [T.RandomFlip(prob=0.25)] if is_train else []
        super().__init__(is_train, augmentations=augmentations, image_format=cfg.INPUT.FORMAT)
