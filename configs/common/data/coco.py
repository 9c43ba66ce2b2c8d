"""COCO detection: Detectron2's loaders, with an evaluator that needs no C++."""

from detectron2.model_zoo import get_config

dataloader = get_config("common/data/coco.py").dataloader
dataloader.train.mapper.use_instance_mask = False
dataloader.evaluator.use_fast_impl = False
# By default the evaluator omits mask AP if no mask was predicted.
dataloader.evaluator.tasks = ["bbox"]
