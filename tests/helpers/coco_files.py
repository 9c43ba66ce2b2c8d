"""A small COCO dataset that tests damage."""

import copy
import json
from pathlib import Path

import detectron2.data.transforms as T
import numpy as np
from detectron2.config import LazyCall as L
from detectron2.data import (
    DatasetCatalog,
    DatasetMapper,
    MetadataCatalog,
    build_detection_train_loader,
    get_detection_dataset_dicts,
)
from detectron2.data.datasets import register_coco_instances
from PIL import Image
from pycocotools import mask

from diffkd_d2.engine.loaders import build_loader
from diffkd_d2.errors import UserError

NAME = "fuzzed_coco"
SQUARE = [[1, 1, 9, 1, 9, 9, 1, 9]]


def good() -> dict:
    """A small COCO file with two images, and every form of a mask."""
    compressed = mask.encode(np.asfortranarray(np.eye(10, dtype="uint8")))["counts"].decode()
    masks = [SQUARE, {"counts": [10, 90], "size": [10, 10]}, {"counts": compressed, "size": [10, 10]}, SQUARE, SQUARE]
    annotations = [
        dict(id=i, image_id=i % 2, category_id=1 + i % 2, bbox=[1, 1, 8, 8], iscrowd=0, area=64, segmentation=m)
        for i, m in enumerate(masks)
    ]
    images = [dict(id=i, file_name=f"{i}.png", height=10, width=10) for i in range(2)]
    data = dict(images=images, categories=[dict(id=i, name=str(i)) for i in (1, 2)], annotations=annotations)
    return json.loads(json.dumps(data))  # nothing shared, since tests change it in place


class Folder:
    """Writes a COCO file and its images, and reads it as a training does."""

    def __init__(self, path: Path):
        self.path, self.json = path, path / "annotations.json"
        for i in range(2):
            Image.fromarray(np.zeros((10, 10, 3), "uint8")).save(path / f"{i}.png")

    def read(self, data: object) -> list[dict]:
        """Load, check, clean and map; return what the model would be given."""
        text = data if isinstance(data, str) else json.dumps(data)
        self.json.write_text(text)
        if NAME in DatasetCatalog.list():
            DatasetCatalog.remove(NAME)
            MetadataCatalog.remove(NAME)
        register_coco_instances(NAME, {}, str(self.json), str(self.path))
        node = L(build_detection_train_loader)(
            dataset=L(get_detection_dataset_dicts)(names=NAME),
            mapper=L(DatasetMapper)(
                is_train=True,
                augmentations=[L(T.RandomFlip)()],
                image_format="BGR",
                use_instance_mask=True,
                instance_mask_format="bitmask",
            ),
            total_batch_size=1,
            aspect_ratio_grouping=False,
        )
        loader = build_loader(node)
        samples = loader._samples
        return [samples.mapper(samples.records[i]) for i in range(len(samples))]

    def outcome(self, data: object) -> str:
        """Return "read", or the line of the error, which must name a file."""
        try:
            for sample in self.read(data):
                boxes = sample["instances"].gt_boxes.tensor
                assert boxes.isfinite().all() and (boxes[:, 2:] > boxes[:, :2]).all()
            return "read"
        except UserError as error:
            assert str(self.path) in str(error) or NAME in str(error) or "No valid data" in str(error), error
            return str(error)


def put(data: dict, path: tuple, value: object) -> dict:
    """Set (or, for `...`, delete) what lies at a path."""
    node = data
    for key in path[:-1]:
        node = node[key]
    if value is ...:
        del node[path[-1]]
    else:
        node[path[-1]] = copy.deepcopy(value)
    return data
