"""The scenes of `shapes` as objects with masks and label maps, for PanopticFPN: AP, mIoU and PQ."""

from detectron2.config import LazyCall as L
from detectron2.data import get_detection_dataset_dicts
from detectron2.evaluation import COCOEvaluator, COCOPanopticEvaluator, SemSegEvaluator

from diffkd_d2.evaluation.third_party import provide_panopticapi

from .shapes_mask import dataloader

provide_panopticapi()
dataloader.train.dataset = L(get_detection_dataset_dicts)(names="shapes_train_panoptic_separated", filter_empty=False)
dataloader.test.dataset.names = "shapes_val_panoptic_separated"
dataloader.evaluator = [
    L(COCOEvaluator)(dataset_name="shapes_val", tasks=["bbox", "segm"], use_fast_impl=False),
    L(SemSegEvaluator)(dataset_name="${...test.dataset.names}"),
    L(COCOPanopticEvaluator)(dataset_name="${...test.dataset.names}"),
]
