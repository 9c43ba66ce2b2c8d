"""The objects of `shapes` with masks."""

from .shapes import dataloader

dataloader.train.mapper.use_instance_mask = True
# Masks of shapes with holes or several parts are RLE, which Detectron2 reads as bitmasks.
dataloader.train.mapper.instance_mask_format = "bitmask"
dataloader.evaluator.tasks = ["bbox", "segm"]
