"""Cityscapes' instances with the sizes of Detectron2's Cityscapes/mask_rcnn_R_50_FPN.yaml."""

import detectron2.data.transforms as T
from detectron2.config import LazyCall as L
from detectron2.data import get_detection_dataset_dicts
from detectron2.evaluation import CityscapesInstanceEvaluator

from .cityscapes_sem_seg import dataloader

dataloader.train.dataset = L(get_detection_dataset_dicts)(names="cityscapes_fine_instance_seg_train")
dataloader.train.mapper.augmentations = [
    L(T.ResizeShortestEdge)(
        short_edge_length=[800, 832, 864, 896, 928, 960, 992, 1024], max_size=2048, sample_style="choice"
    ),
    L(T.RandomFlip)(horizontal=True),
]
dataloader.train.mapper.use_instance_mask = True
dataloader.train.total_batch_size = 8
dataloader.test.dataset.names = "cityscapes_fine_instance_seg_val"
dataloader.evaluator._target_ = CityscapesInstanceEvaluator
