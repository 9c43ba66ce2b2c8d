"""COCO files with faults: a line that names file and record, or the record is left out and counted."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from coco_files import SQUARE, Folder, good, put
from detectron2.config import LazyCall as L
from detectron2.data.samplers import TrainingSampler
from PIL import Image
from pycocotools import mask
from small_data import coco, register_coco, train_loader

from diffkd_d2.data import annotations
from diffkd_d2.data.annotations import MAX_ANNOTATIONS, rle_counts
from diffkd_d2.data.loaders import instantiate_loader
from diffkd_d2.errors import UserError


@pytest.fixture
def folder(tmp_path) -> Folder:
    return Folder(tmp_path)


A = ("annotations", 0)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("images",), ..., "'images' is missing"),
        (("images", 1), 3, "images[1] is 3"),
        (("images", 1, "id"), 0, "image 1 has the id 0 of image 0"),
        (("images", 0, "file_name"), ..., "image 0 (id 0): 'file_name' is missing"),
        (("images", 0, "width"), -4, "image 0 (id 0): 'width' is -4"),
        (("categories", 1, "id"), 1, "category 1 has the id 1 of category 0"),
        ((*A, "id"), 3, "annotation 3 has the id 3 of annotation 0"),
        ((*A, "bbox"), ..., "annotation 0 (id 0): 'bbox' is missing"),
        ((*A, "bbox"), [1, 2, 3], "annotation 0 (id 0): 'bbox' is [1, 2, 3]"),
        ((*A, "category_id"), 77, "annotation 0 (id 0): 'category_id' is 77"),
        ((*A, "segmentation"), {"counts": 5, "size": [10, 10]}, "'segmentation.counts' is 5"),
        ((*A, "segmentation"), "mask", "'segmentation' is 'mask'"),
        ((*A, "keypoints"), [1, 2], "'keypoints' is [1, 2]"),
        ((*A, "ignore"), 1, "'ignore' is 1"),
    ],
)
def test_contradictions_name_the_record(folder, path, value, message):
    line = folder.outcome(put(good(), path, value))
    assert message in line and "annotations.json" in line


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("bbox", [math.nan, 1, 2, 2], "the box is not finite"),
        ("bbox", [1, 1, math.inf, 2], "the box is not finite"),
        ("bbox", [1, 1, 0, 5], "the box has no area"),
        ("bbox", [1, 1, -3, 5], "the box has no area"),
        ("bbox", [40, 1, 5, 5], "the box lies outside of the image"),
        ("segmentation", [[1, 1, 5, 5, math.nan, 2]], "no polygon"),
        ("segmentation", [[1, 1, 5, 5, 1e9, 2]], "no polygon"),
        ("segmentation", {"counts": [50, 50], "size": [20, 5]}, "the RLE does not have the image's size"),
        ("segmentation", {"counts": [500, 50], "size": [10, 10]}, "the RLE is damaged"),
        ("segmentation", {"counts": "zzzz", "size": [10, 10]}, "the RLE is damaged"),
    ],
)
def test_what_is_of_no_use_is_left_out_and_counted(folder, caplog, key, value, reason):
    whole = sum(len(sample["instances"]) for sample in folder.read(good()))
    samples = folder.read(put(good(), (*A, key), value))
    assert sum(len(sample["instances"]) for sample in samples) == whole - 1
    assert f"left out of the dataset: 1 annotations: {reason}" in caplog.text


def test_two_point_polygon_is_left_out(folder, caplog):
    samples = folder.read(put(good(), (*A, "segmentation"), [[1, 1, 5, 5]]))
    assert [len(sample["instances"]) for sample in samples] == [2, 2]
    assert "Filtered out 1 instances without valid segmentation" in caplog.text


@pytest.mark.parametrize("text", ["", "[]", "{", "null", '{"images": [', "\x00", "[" * 100_000, '{"a": NaN}'])
def test_what_is_no_coco_file_is_an_error_that_names_it(folder, text):
    assert "annotations.json" in folder.outcome(text)


@pytest.mark.slow
@pytest.mark.parametrize("count", [100_000, pytest.param(1_000_000, marks=pytest.mark.faults)])
def test_many_annotations_on_one_image(count, folder, caplog):
    data = good()
    box = [dict(image_id=0, category_id=1, bbox=[1, 1, 8, 8], iscrowd=0, area=64, segmentation=SQUARE)]
    data["annotations"] = [dict(box[0], id=i, image_id=1 if i == 0 else 0) for i in range(count)]
    assert len(folder.read(data)) == 1
    assert f"1 images with more than {MAX_ANNOTATIONS} annotations" in caplog.text


def test_an_image_that_a_sampler_counts_on_is_not_left_out(tmp_path, monkeypatch):
    data = coco()
    data["annotations"].append(dict(data["annotations"][0], id=9))
    cfg = train_loader(register_coco(tmp_path, data, "set"))
    cfg.sampler = L(TrainingSampler)(size=3, shuffle=False)
    assert len(instantiate_loader(cfg).records) == 3
    monkeypatch.setattr(annotations, "MAX_ANNOTATIONS", 1)
    with pytest.raises(UserError, match="set: 1 images have more than .* a sampler that counts on them"):
        instantiate_loader(cfg)


def save_image(kind: str, path: Path) -> None:
    """Write an image of a kind in place of a good one."""
    rgb = Image.fromarray(np.full((10, 10, 3), 200, "uint8"))
    if kind == "missing":
        path.unlink()
    elif kind == "truncated":
        noise = np.random.default_rng(0).integers(0, 255, (10, 10, 3), dtype="uint8")
        Image.fromarray(noise).save(path)
        path.write_bytes(path.read_bytes()[:150])
    elif kind == "of another size":
        rgb.resize((12, 10)).save(path)
    elif kind == "CMYK":
        rgb.convert("CMYK").save(path, "JPEG")
    elif kind == "16-bit":
        Image.fromarray(np.full((10, 10), 40000, "uint16")).save(path)
    elif kind == "EXIF-rotated":
        exif = Image.Exif()
        exif[0x0112] = 6
        rgb.resize((10, 6)).save(path, "JPEG", exif=exif)
    elif kind == "empty":
        path.write_bytes(b"")


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", "1 of 2 images of fuzzed_coco are missing"),
        ("truncated", "OSError"),
        ("of another size", "the file is 12 x 10"),
        ("CMYK", "read"),
        ("16-bit", "more than 8 bits per channel"),
        ("EXIF-rotated", "the file is 6 x 10"),
        ("empty", "UnidentifiedImageError"),
    ],
)
def test_images(folder, kind, message):
    save_image(kind, folder.path / "0.png")
    line = folder.outcome(good())
    assert message in line and (line == "read" or "0.png" in line)


def test_sizes_of_a_rotated_image(folder):
    save_image("EXIF-rotated", folder.path / "0.png")
    data = put(put(good(), ("images", 0, "height"), 10), ("images", 0, "width"), 6)
    for annotation in data["annotations"]:
        annotation["segmentation"] = SQUARE
    shapes = [tuple(sample["image"].shape) for sample in folder.read(data)]
    assert shapes == [(3, 10, 6), (3, 10, 10)]


def test_run_lengths_are_those_of_pycocotools():
    for seed in range(20):
        bits = np.asfortranarray(torch.rand(30, 40, generator=torch.Generator().manual_seed(seed)) > seed / 20, "uint8")
        runs = rle_counts(mask.encode(bits)["counts"])
        again = mask.frPyObjects({"counts": runs, "size": [30, 40]}, 30, 40)
        assert sum(runs) == 1200 and np.array_equal(mask.decode(again), bits)
