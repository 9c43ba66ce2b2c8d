"""Blood cells (BCCD), an example of a dataset of your own: COCO json, registered by Detectron2's own function.

Expected under DETECTRON2_DATASETS: bccd/images/*.jpg and bccd/annotations/instances_{train,val,test}.json.
"""

import os
from pathlib import Path

import detectron2.data.transforms as T
from detectron2.config import LazyCall as L
from detectron2.data import DatasetCatalog
from detectron2.data.datasets import register_coco_instances

from .shapes import dataloader

root = Path(os.environ.get("DETECTRON2_DATASETS", "datasets")) / "bccd"
for split in ("train", "val", "test"):
    if f"bccd_{split}" not in DatasetCatalog.list():
        register_coco_instances(
            f"bccd_{split}", {}, str(root / "annotations" / f"instances_{split}.json"), str(root / "images")
        )

resize = L(T.ResizeShortestEdge)(short_edge_length=240, max_size=320)
dataloader.train.dataset.names = "bccd_train"
dataloader.train.mapper.augmentations = [
    resize,
    L(T.RandomFlip)(horizontal=True),
    L(T.RandomFlip)(horizontal=False, vertical=True),
]
dataloader.train.total_batch_size = 4
dataloader.test.dataset.names = "bccd_val"
dataloader.test.mapper.augmentations = [resize]
