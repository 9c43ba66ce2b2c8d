"""COCO's things and stuff, for PanopticFPN."""

from detectron2.model_zoo import get_config

from diffkd_d2.evaluation.third_party import provide_panopticapi

provide_panopticapi()
dataloader = get_config("common/data/coco_panoptic_separated.py").dataloader
dataloader.evaluator[0].use_fast_impl = False
