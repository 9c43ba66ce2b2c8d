"""Cityscapes' panoptic segmentation with the crops of Detectron2's projects/Panoptic-DeepLab: PQ, mIoU and mask AP.

Needs gtFine/cityscapes_panoptic_{train,val} too, made by cityscapesscripts/preparation/createPanopticImgs.py.
"""

import detectron2.data.transforms as T
from detectron2.config import LazyCall as L
from detectron2.evaluation import CityscapesInstanceEvaluator, CityscapesSemSegEvaluator, COCOPanopticEvaluator

from .cityscapes_sem_seg import dataloader
from .panoptic_deeplab import panoptic_deeplab_mapper

resize = L(T.ResizeShortestEdge)(
    short_edge_length=[512, 640, 704, 832, 896, 1024, 1152, 1216, 1344, 1408, 1536, 1664, 1728, 1856, 1920, 2048],
    max_size=4096,
    sample_style="choice",
)
crop = L(T.RandomCrop)(crop_type="absolute", crop_size=[512, 1024])
augmentations = [resize, crop, L(T.RandomFlip)(horizontal=True)]
# Train ids 11 to 18 are the things: person, rider and the vehicles.
dataloader.train.mapper = panoptic_deeplab_mapper(augmentations, "RGB", thing_ids=list(range(11, 19)))
dataloader.train.dataset.names = "cityscapes_fine_panoptic_train"
dataloader.train.total_batch_size = 32
dataloader.test.dataset.names = "cityscapes_fine_panoptic_val"
dataloader.evaluator = [
    L(evaluator)(dataset_name="${...test.dataset.names}")
    for evaluator in (COCOPanopticEvaluator, CityscapesSemSegEvaluator, CityscapesInstanceEvaluator)
]
