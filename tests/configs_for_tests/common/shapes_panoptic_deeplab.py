"""The scenes of `shapes` as Panoptic-DeepLab takes them."""

import detectron2.data.transforms as T
from detectron2.config import LazyCall as L
from detectron2.data import get_detection_dataset_dicts
from detectron2.evaluation import COCOPanopticEvaluator

from ....configs.common.data.panoptic_deeplab import panoptic_deeplab_mapper
from ....configs.common.data.shapes import dataloader

flip = [L(T.RandomFlip)(horizontal=True)]
dataloader.train.mapper = panoptic_deeplab_mapper(flip, "RGB", list(range(8)), sigma=4, small_instance_area=256)
dataloader.train.dataset = L(get_detection_dataset_dicts)(names="shapes_train_panoptic", filter_empty=False)
dataloader.test.dataset.names = "shapes_val_panoptic"
dataloader.test.mapper.image_format = "RGB"
dataloader.evaluator = L(COCOPanopticEvaluator)(dataset_name="${..test.dataset.names}")
