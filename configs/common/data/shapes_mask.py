"""The objects of `shapes` with their masks."""

from .shapes import dataloader

dataloader.train.mapper.use_instance_mask = True
# Shapes with holes or in pieces are RLE, which Detectron2 reads as bitmasks.
dataloader.train.mapper.instance_mask_format = "bitmask"
dataloader.evaluator.tasks = ["bbox", "segm"]
