"""The project's mapper."""

import detectron2.data.transforms as T
from detectron2.data import DatasetMapper


class StandInMapper(DatasetMapper):
    """Detectron2's with the project's own augmentation."""

    def __init__(self, cfg, is_train=True):
        augmentations = [T.RandomFlip(prob=0.25)] if is_train else []
        super().__init__(is_train, augmentations=augmentations, image_format=cfg.INPUT.FORMAT)
