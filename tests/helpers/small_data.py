"""Registers small datasets of images that a test writes, and removes what they replace."""

import json
from pathlib import Path

import numpy as np
from detectron2.config import LazyCall as L
from detectron2.data import (
    DatasetCatalog,
    DatasetMapper,
    MetadataCatalog,
    build_detection_test_loader,
    build_detection_train_loader,
    get_detection_dataset_dicts,
)
from detectron2.data.datasets import load_sem_seg, register_coco_instances
from PIL import Image

CLASSES = ("cat", "dog", "cow")
SIZE = (12, 8)  # width, height


def write_image(path: Path, size: tuple[int, int] = SIZE, orientation: int = 1) -> None:
    """Write a grey JPEG or PNG, with an EXIF orientation where that is not 1."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", size, (90, 90, 90)).save(path, **({"exif": exif} if orientation != 1 else {}))


def coco(images: int = 3, names: tuple[str, ...] = CLASSES) -> dict:
    """Return a json with one object of class i in image i, all of them squares of 4 pixels."""
    square = [2, 2, 6, 2, 6, 6, 2, 6]
    width, height = SIZE
    return dict(
        images=[dict(id=i + 1, file_name=f"{i}.jpg", width=width, height=height) for i in range(images)],
        categories=[dict(id=i + 1, name=name) for i, name in enumerate(names)],
        annotations=[
            dict(
                id=i + 1,
                image_id=i + 1,
                category_id=i % len(names) + 1,
                bbox=[2, 2, 4, 4],
                area=16,
                iscrowd=0,
                segmentation=[list(square)],
            )
            for i in range(images)
        ],
    )


def register_coco(folder: Path, data: dict, name: str) -> str:
    """Write the json and its images into the folder; return the name of the registered dataset."""
    forget(name)
    for image in data["images"]:
        path = folder / image["file_name"]
        if not path.exists():
            write_image(path)
    file = folder / f"{name}.json"
    file.write_text(json.dumps(data))
    register_coco_instances(name, {}, str(file), str(folder))
    return name


def register_label_maps(folder: Path, maps: list, name: str, orientation: int = 1) -> str:
    """Write an image for each label map (an array or a PIL image), and both; return the name of the dataset."""
    forget(name)
    images, labels = folder / f"{name}_images", folder / f"{name}_labels"
    for path in (images, labels):
        path.mkdir()
    for i, label_map in enumerate(maps):
        write_image(images / f"{i}.jpg", orientation=orientation)
        picture = label_map if isinstance(label_map, Image.Image) else Image.fromarray(np.asarray(label_map))
        picture.save(labels / f"{i}.png")
    DatasetCatalog.register(name, lambda: load_sem_seg(str(labels), str(images), "png", "jpg"))
    MetadataCatalog.get(name).set(stuff_classes=list(CLASSES), ignore_label=255)
    return name


def forget(name: str) -> None:
    """Remove a dataset of an earlier test."""
    if name in DatasetCatalog.list():
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


def train_loader(names, **mapper):
    """Return the config of a training loader without augmentations."""
    return L(build_detection_train_loader)(
        dataset=L(get_detection_dataset_dicts)(names=names, filter_empty=False),
        mapper=L(DatasetMapper)(is_train=True, augmentations=[], image_format="BGR", **mapper),
        total_batch_size=1,
        aspect_ratio_grouping=False,
    )


def evaluation_loader(names):
    """Return the config of a loader of test data."""
    return L(build_detection_test_loader)(
        dataset=L(get_detection_dataset_dicts)(names=names, filter_empty=False),
        mapper=L(DatasetMapper)(is_train=False, augmentations=[], image_format="BGR"),
    )


def samples(loader) -> list[dict]:
    """Return what the mapper makes of each record of a training loader."""
    mapper = loader._samples.mapper
    return [mapper(loader.records[i]) for i in range(len(loader.records))]
