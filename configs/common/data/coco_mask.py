"""COCO's objects with masks."""

from .coco import dataloader

dataloader.train.mapper.use_instance_mask = True
dataloader.evaluator.tasks = ["bbox", "segm"]
