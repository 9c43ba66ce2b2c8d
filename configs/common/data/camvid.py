"""CamVid street scenes: images and label maps (255 = ignore), registered by Detectron2's own functions.

Expected under DETECTRON2_DATASETS: camvid/{images,labels}/{train,val,test}.
"""

import os
from pathlib import Path

import detectron2.data.transforms as T
from detectron2.config import LazyCall as L
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets import load_sem_seg

from .shapes_sem_seg import dataloader

CLASSES = "Sky Building Pole Road Pavement Tree SignSymbol Fence Car Pedestrian Bicyclist".split()
root = Path(os.environ.get("DETECTRON2_DATASETS", "datasets")) / "camvid"
for split in ("train", "val", "test"):
    if f"camvid_{split}" not in DatasetCatalog.list():
        labels, images = (str(root / kind / split) for kind in ("labels", "images"))
        DatasetCatalog.register(
            f"camvid_{split}", lambda labels=labels, images=images: load_sem_seg(labels, images, "png", "jpg")
        )
        MetadataCatalog.get(f"camvid_{split}").set(
            stuff_classes=CLASSES, evaluator_type="sem_seg", ignore_label=255, sem_seg_root=labels, image_root=images
        )

dataloader.train.dataset.names = "camvid_train"
dataloader.train.mapper.augmentations = [
    L(T.ResizeShortestEdge)(short_edge_length=[144, 180, 216, 252], max_size=400, sample_style="choice"),
    L(T.RandomCrop)(crop_type="absolute", crop_size=[144, 192]),
    L(T.RandomFlip)(horizontal=True),
]
dataloader.test.dataset.names = "camvid_val"
