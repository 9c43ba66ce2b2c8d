"""Cityscapes' label maps with the crops of Detectron2's projects/DeepLab, evaluated by cityscapesscripts.

Expected under DETECTRON2_DATASETS: cityscapes/{leftImg8bit,gtFine}/{train,val}, with labelTrainIds.png made by
cityscapesscripts/preparation/createTrainIdLabelImgs.py.
"""

import detectron2.data.transforms as T
from detectron2.config import LazyCall as L
from detectron2.data import (
    DatasetMapper,
    build_detection_test_loader,
    build_detection_train_loader,
    get_detection_dataset_dicts,
)
from detectron2.evaluation import CityscapesSemSegEvaluator
from omegaconf import OmegaConf

from diffkd_d2.evaluation.third_party import provide_cityscapes

provide_cityscapes()

dataloader = OmegaConf.create()
dataloader.train = L(build_detection_train_loader)(
    dataset=L(get_detection_dataset_dicts)(names="cityscapes_fine_sem_seg_train", filter_empty=False),
    mapper=L(DatasetMapper)(
        is_train=True,
        augmentations=[
            L(T.ResizeShortestEdge)(
                short_edge_length=[512, 768, 1024, 1280, 1536, 1792, 2048], max_size=4096, sample_style="choice"
            ),
            L(T.RandomCrop_CategoryAreaConstraint)(
                crop_type="absolute", crop_size=[512, 1024], single_category_max_area=1.0, ignored_category=255
            ),
            L(T.RandomFlip)(horizontal=True),
        ],
        image_format="RGB",
    ),
    total_batch_size=16,
    num_workers=4,
)
dataloader.test = L(build_detection_test_loader)(
    dataset=L(get_detection_dataset_dicts)(names="cityscapes_fine_sem_seg_val", filter_empty=False),
    mapper=L(DatasetMapper)(
        is_train=False,
        augmentations=[L(T.ResizeShortestEdge)(short_edge_length=1024, max_size=2048)],
        image_format="RGB",
    ),
    num_workers=4,
)
dataloader.evaluator = L(CityscapesSemSegEvaluator)(dataset_name="${..test.dataset.names}")
