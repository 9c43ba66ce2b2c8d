"""The COCO configs as they are shipped, on a dataset in COCO's layout and a teacher in the zoo's format."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from detectron2.data.datasets.builtin_meta import COCO_CATEGORIES
from quick_start import run_program
from real_images import with_few_to_evaluate
from two_steps import two_steps

from diffkd_d2.evaluation.third_party import rgb2id
from diffkd_d2.modeling.yaml_model import yaml_model

pytestmark = pytest.mark.slow

SIZE = [
    *(f"dataloader.train.{x}" for x in ("total_batch_size=2", "num_workers=0")),
    *(f"dataloader.train.mapper.augmentations.0.{x}" for x in ("short_edge_length=[96,128]", "max_size=160")),
    *(f"dataloader.test.mapper.augmentations.0.{x}" for x in ("short_edge_length=128", "max_size=160")),
    *("dataloader.test.num_workers=0", "train.log_period=1", "train.init_checkpoint=''", "train.seed=1"),
]
PLAIN_DETECTRON2 = """
import sys, cv2
from detectron2 import model_zoo
from detectron2.config import get_cfg
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.modeling import build_model
cfg = get_cfg()
cfg.merge_from_file(model_zoo.get_config_file("COCO-Detection/faster_rcnn_R_50_FPN_1x.yaml"))
cfg.MODEL.DEVICE = "cpu"
model = build_model(cfg).eval()
class Strict(DetectionCheckpointer):
    def _log_incompatible_keys(self, found):
        assert not (found.missing_keys or found.unexpected_keys or found.incorrect_shapes), found
before = model.state_dict()["backbone.fpn_output2.weight"].clone()
Strict(model).load(sys.argv[1])
assert not (model.state_dict()["backbone.fpn_output2.weight"] == before).all()
assert "diffkd_d2" not in sys.modules
print("read")
"""


@pytest.fixture(scope="module")
def coco(tmp_path_factory) -> Path:
    """Six images of noise with a box each, in COCO's layout with COCO's categories."""
    root = tmp_path_factory.mktemp("datasets")
    rng = np.random.default_rng(0)
    things = [dict(id=c["id"], name=c["name"]) for c in COCO_CATEGORIES if c["isthing"]]
    (root / "coco" / "annotations").mkdir(parents=True)
    for split in ("train", "val"):
        folder = root / "coco" / f"{split}2017"
        folder.mkdir()
        images, annotations = [], []
        for i in range(1, 7):
            cv2.imwrite(str(folder / f"{i:012d}.jpg"), rng.integers(0, 255, (96, 128, 3), dtype=np.uint8))
            images.append(dict(id=i, file_name=f"{i:012d}.jpg", height=96, width=128))
            box = dict(bbox=[20, 10, 60, 50], area=3000, segmentation=[[20, 10, 80, 10, 80, 60, 20, 60]])
            annotations.append(dict(id=i, image_id=i, category_id=i, iscrowd=0, **box))
        data = dict(info={}, images=images, annotations=annotations, categories=things)
        (root / "coco" / "annotations" / f"instances_{split}2017.json").write_text(json.dumps(data))
    return root


def zoo_checkpoint(config: str, path: Path) -> None:
    """Write random weights the way Detectron2's zoo stores them."""
    weights = {k: v.numpy() for k, v in yaml_model(config).state_dict().items()}
    path.write_bytes(pickle.dumps({"model": weights, "__author__": "Detectron2 Model Zoo"}))


def train(root: Path, config: str, out: Path, *overrides: str, zoo: str) -> dict:
    """Two iterations and the evaluation of a shipped config; return its results."""
    zoo_checkpoint(zoo, out / "teacher.pkl")
    words = ["train_net.py", "--config-file", f"configs/coco/{config}.py", "--num-gpus", "0"]
    words += [*SIZE, "train.max_iter=2", f"train.output_dir={out}", f"model.teacher.weights={out}/teacher.pkl"]
    env = dict(os.environ, DETECTRON2_DATASETS=str(root), OMP_NUM_THREADS="1")
    run = run_program([*words, *overrides], env)
    assert run.returncode == 0, run.stderr[-3000:]
    lines = [json.loads(line) for line in (out / "metrics.json").read_text().splitlines()]
    assert all(np.isfinite(v) for v in lines[0].values())
    assert {"loss_diffusion_p5", "loss_kd_p3", "gamma_p4"} <= set(lines[0])
    return json.loads((out / "results.json").read_text())


def test_faster_rcnn_student_loads_in_detectron2(coco, tmp_path):
    results = train(coco, "diffkd_r50", tmp_path, zoo="COCO-Detection/faster_rcnn_R_101_FPN_3x.yaml")
    assert "AP" in results["bbox"]
    command = [sys.executable, "-c", PLAIN_DETECTRON2, str(tmp_path / "model_final.pth")]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.stdout.strip() == "read", run.stderr[-2000:]


def test_retinanet(coco, tmp_path):
    results = train(coco, "diffkd_retinanet_r50_from_r101", tmp_path, zoo="COCO-Detection/retinanet_R_101_FPN_3x.yaml")
    assert "AP" in results["bbox"]


def test_mask_rcnn(coco, tmp_path):
    results = train(
        coco, "diffkd_mask_rcnn_r50_from_r101", tmp_path, zoo="COCO-InstanceSegmentation/mask_rcnn_R_101_FPN_3x.yaml"
    )
    assert {"bbox", "segm"} <= set(results)


@pytest.fixture(scope="module")
def real_coco(real_data, tmp_path_factory) -> Path:
    """The real COCO images, 16 of them to evaluate on."""
    return with_few_to_evaluate(real_data, tmp_path_factory.mktemp("datasets"), "coco")


def test_real_images(real_coco, tmp_path):
    teacher = "COCO-Detection/faster_rcnn_R_101_FPN_3x.yaml"
    # Untrained, it needs a norm of the batch at hand to stay finite, every score to predict anything, and few boxes.
    options = "[MODEL.RESNETS.NORM,GN,MODEL.BACKBONE.FREEZE_AT,0,MODEL.ROI_HEADS.SCORE_THRESH_TEST,-1.0"
    options += ",MODEL.RPN.POST_NMS_TOPK_TEST,10]"
    results = train(real_coco, "diffkd_r50", tmp_path, f"model.student.opts={options}", zoo=teacher)
    assert 0 <= results["bbox"]["AP"] < 5  # two iterations from random weights, on real annotations


@pytest.fixture(scope="module")
def real_panoptic(real_coco) -> Path:
    """The same with the label maps that PanopticFPN trains on: 0 for things, 1 to 53 for stuff."""
    folder = real_coco / "coco"
    labels = {k["id"]: 0 for k in COCO_CATEGORIES if k["isthing"]}
    stuff = [k["id"] for k in COCO_CATEGORIES if not k["isthing"]]
    labels.update({k: i + 1 for i, k in enumerate(stuff)})
    for split in ("train", "val"):
        maps = folder / f"panoptic_stuff_{split}2017"
        maps.mkdir()
        panoptic, instances = (
            json.loads((folder / "annotations" / f"{kind}_{split}2017.json").read_text())
            for kind in ("panoptic", "instances")
        )
        # Not all images of the folder have panoptic annotations; PanopticFPN wants the same images in both files.
        there = {record["image_id"] for record in panoptic["annotations"]}
        instances["images"] = [x for x in instances["images"] if x["id"] in there]
        instances["annotations"] = [x for x in instances["annotations"] if x["image_id"] in there]
        (folder / "annotations" / f"instances_{split}2017.json").write_text(json.dumps(instances))
        for record in panoptic["annotations"]:
            ids = rgb2id(cv2.imread(str(folder / f"panoptic_{split}2017" / record["file_name"]))[:, :, ::-1])
            label = np.full(ids.shape, 255, np.uint8)
            for segment in record["segments_info"]:
                label[ids == segment["id"]] = labels[segment["category_id"]]
            cv2.imwrite(str(maps / record["file_name"]), label)
    return real_coco


def test_panoptic_quality_on_real_images(real_panoptic, tmp_path):
    overrides = [x for x in SIZE if "total_batch_size" not in x and "num_workers" not in x and "train.log" not in x]
    options = "[MODEL.RESNETS.NORM,GN,MODEL.BACKBONE.FREEZE_AT,0,MODEL.RPN.POST_NMS_TOPK_TEST,10]"
    config = "configs/coco/diffkd_panoptic_fpn_r50_from_r101.py"
    two_steps(config, real_panoptic, tmp_path, *overrides, f"model.student.opts={options}")
    results = json.loads((tmp_path / "results.json").read_text())
    assert 0 <= results["panoptic_seg"]["PQ"] < 5 and 0 < results["sem_seg"]["mIoU"] < 10
