"""The scenes of `shapes` as label maps: class 0 is any object, then the kinds of ground."""

from detectron2.config import LazyCall as L
from detectron2.data import get_detection_dataset_dicts
from detectron2.evaluation import SemSegEvaluator

from .shapes import dataloader

dataloader.train.dataset = L(get_detection_dataset_dicts)(names="shapes_train_sem_seg", filter_empty=False)
dataloader.test.dataset.names = "shapes_val_sem_seg"
dataloader.evaluator = L(SemSegEvaluator)(dataset_name="${..test.dataset.names}")
