"""The built-in dataset: the same bytes for the same seed, and annotations that agree with each other."""

import hashlib
import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from detectron2.data import DatasetCatalog
from pycocotools import mask as coco_mask
from quick_start import run_program

from diffkd_d2.datasets import shapes
from diffkd_d2.datasets.shapes import generate, register_shapes
from diffkd_d2.datasets.shapes_render import CLASSES, STUFF, render_scene
from diffkd_d2.errors import UserError

TRUTH_AS_PREDICTIONS = """
import json, sys, torch
from detectron2.evaluation import COCOEvaluator
from detectron2.data import DatasetCatalog
from detectron2.structures import BoxMode, Boxes, Instances
from diffkd_d2.datasets.shapes import register_shapes
register_shapes()
evaluator = COCOEvaluator("shapes_val", tasks=["bbox"], use_fast_impl=False)
evaluator.reset()
for record in DatasetCatalog.get("shapes_val"):
    found = Instances((record["height"], record["width"]))
    plain = [a for a in record["annotations"] if not a["iscrowd"]]
    boxes = [BoxMode.convert(a["bbox"], BoxMode.XYWH_ABS, BoxMode.XYXY_ABS) for a in plain]
    found.pred_boxes = Boxes(torch.tensor(boxes).reshape(-1, 4))
    found.pred_classes = torch.tensor([a["category_id"] for a in plain], dtype=torch.long)
    found.scores = torch.ones(len(plain))
    evaluator.process([record], [{"instances": found}])
print("AP", evaluator.evaluate()["bbox"]["AP"])
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A dataset in small: 40 train and 30 val images."""
    return generate(tmp_path_factory.mktemp("datasets"), num_train=40, num_val=30)


@pytest.fixture(scope="module")
def instances(root) -> dict:
    return json.loads((root / "annotations" / "instances_train.json").read_text())


def digests(folder: Path) -> dict[str, str]:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def decode(annotation: dict, size: int = 128) -> np.ndarray:
    segmentation = annotation["segmentation"]
    if isinstance(segmentation, dict):
        return coco_mask.decode(segmentation).astype(bool)
    return coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(segmentation, size, size))).astype(bool)


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    first, second, other = (
        digests(generate(tmp_path / name, num_train=4, num_val=2, seed=seed))
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    assert first == second and len(first) > 20
    assert first["train/000000.jpg"] != other["train/000000.jpg"]
    assert first["train/000000.jpg"] != first["val/000000.jpg"]


def test_annotations_agree_with_their_masks(instances):
    for annotation in instances["annotations"]:
        mask = decode(annotation)
        x, y, w, h = annotation["bbox"]
        assert 1 <= annotation["category_id"] <= len(CLASSES) and annotation["area"] >= 16
        if isinstance(annotation["segmentation"], dict):
            assert mask.sum() == annotation["area"]
            assert [x, y, w, h] == list(cv2.boundingRect(mask.astype(np.uint8)))
        else:  # an outline through pixel centres loses up to half a pixel all around
            assert abs(mask.sum() - annotation["area"]) <= 1.2 * (w + h)
        ys, xs = np.nonzero(mask)
        assert x <= xs.min() and xs.max() < x + w and y <= ys.min() and ys.max() < y + h
    assert len({a["id"] for a in instances["annotations"]}) == len(instances["annotations"])


def test_keypoints_are_the_outermost_pixels_of_the_mask(instances):
    seen = 0
    for annotation in instances["annotations"]:
        points = np.array(annotation["keypoints"]).reshape(4, 3)
        if annotation["iscrowd"]:
            assert annotation["num_keypoints"] == 0 and not points.any()
            continue
        x, y, w, h = annotation["bbox"]
        (_, top, _), (left, _, _), (_, bottom, _), (right, _, _) = points
        assert (top, left, bottom, right) == (y, x, y + h - 1, x + w - 1) and (points[:, 2] == 2).all()
        if isinstance(annotation["segmentation"], dict):
            assert decode(annotation)[points[:, 1], points[:, 0]].all()
            seen += 1
    assert seen


def test_scenes_vary():
    scenes = [render_scene(np.random.default_rng([0, 0, i]), 128) for i in range(150)]
    single = [sum(not crowd for crowd in scene.crowd) for scene in scenes]
    assert min(single) == 0 and max(single) >= 6 and any(any(scene.crowd) for scene in scenes)
    assert {c for scene in scenes for c in scene.classes} == set(range(len(CLASSES)))
    areas = [m.sum() for scene in scenes for m in scene.masks]
    assert min(areas) < 150 and max(areas) > 1500


def test_crowds_are_rle_and_marked():
    crowded = next(i for i in range(300) if any(render_scene(np.random.default_rng([0, 0, i]), 128).crowd))
    scene = render_scene(np.random.default_rng([0, 0, crowded]), 128)
    found = [a for a in shapes._instances(scene, 1, 1) if a["iscrowd"]]
    assert len(found) == 1 and isinstance(found[0]["segmentation"], dict)


def test_panoptic_and_semantic_maps_agree_with_the_instances(root, instances):
    panoptic = json.loads((root / "annotations" / "panoptic_train.json").read_text())
    things = {c["id"] for c in panoptic["categories"] if c["isthing"]}
    assert len(panoptic["categories"]) == len(CLASSES) + len(STUFF)
    for record in panoptic["annotations"]:
        rgb = cv2.imread(str(root / "panoptic_train" / record["file_name"]))[:, :, ::-1].astype(np.int64)
        ids = rgb[..., 0] + 256 * rgb[..., 1] + 65536 * rgb[..., 2]
        sem_seg = cv2.imread(str(root / "sem_seg_train" / record["file_name"]), cv2.IMREAD_UNCHANGED)
        assert set(np.unique(ids)) == {s["id"] for s in record["segments_info"]}
        for segment in record["segments_info"]:
            region = ids == segment["id"]
            assert region.sum() == segment["area"]
            label = 0 if segment["category_id"] in things else segment["category_id"] - len(CLASSES)
            assert (sem_seg[region] == label).all()
        areas = sorted(a["area"] for a in instances["annotations"] if a["image_id"] == record["image_id"])
        assert areas == sorted(s["area"] for s in record["segments_info"] if s["category_id"] in things)


def test_the_classification_folder_is_balanced(root):
    for split, count in (("train", 4), ("val", 3)):
        folders = sorted(p for p in (root / "cls" / split).iterdir())
        assert [p.name for p in folders] == sorted(CLASSES)
        assert {len(list(p.glob("*.jpg"))) for p in folders} == {count}


def test_nothing_half_written_is_left_behind(tmp_path, monkeypatch):
    def fail(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(shapes, "_write_crops", fail)
    with pytest.raises(OSError, match="no space left"):
        generate(tmp_path, num_train=2, num_val=1)
    assert list(tmp_path.iterdir()) == []


def test_folder_of_other_arguments_is_an_error(root):
    assert generate(root.parent, num_train=40, num_val=30) == root
    with pytest.raises(UserError, match="'num_train': 40.*'num_train': 41"):
        generate(root.parent, num_train=41, num_val=30)


def test_registering_twice_changes_nothing():
    register_shapes()
    before = set(DatasetCatalog.list())
    register_shapes()
    assert set(DatasetCatalog.list()) == before
    assert {f"shapes_{s}{x}" for s in ("train", "val") for x in ("", "_sem_seg", "_panoptic")} <= before


@pytest.mark.slow
def test_the_truth_as_predictions_has_an_ap_of_100(small_datasets, tmp_path):
    env = dict(os.environ, DETECTRON2_DATASETS=str(small_datasets), OMP_NUM_THREADS="1")
    program = tmp_path / "truth.py"
    program.write_text(TRUTH_AS_PREDICTIONS)
    run = run_program([str(program)], env, cwd=tmp_path)
    assert run.returncode == 0, run.stderr[-2000:]
    assert float(run.stdout.split("AP ")[-1]) > 99.9
