"""One small pair of each model family: two steps and the evaluation."""

import importlib.util
import json

import numpy as np
import pytest
import torch
from two_steps import two_steps

pytestmark = pytest.mark.slow

FAMILIES = {
    "configs/shapes/diffkd_faster_rcnn_r18_from_retinanet": {"bbox"},
    "configs/shapes/diffkd_semantic_fpn_r18": {"sem_seg"},
    "tests/configs_for_tests/diffkd_fcos_r18": {"bbox"},
    "tests/configs_for_tests/diffkd_cascade_rcnn_r18": {"bbox"},
    "configs/shapes/diffkd_mask_rcnn_r18_from_retinanet": {"bbox", "segm"},
    "tests/configs_for_tests/diffkd_keypoint_rcnn_r18": {"bbox", "keypoints"},
    "tests/configs_for_tests/diffkd_point_rend_r18": {"bbox", "segm"},
    "tests/configs_for_tests/diffkd_mask_rcnn_r18_from_vitdet": {"bbox", "segm"},
    "configs/shapes/diffkd_panoptic_fpn_r18": {"bbox", "segm", "sem_seg", "panoptic_seg"},
    "tests/configs_for_tests/diffkd_semantic_fpn_logits_r18": {"sem_seg"},
    "tests/configs_for_tests/diffkd_deeplab_v3_r18": {"sem_seg"},
    "tests/configs_for_tests/diffkd_deeplab_v3_plus_r18": {"sem_seg"},
    "tests/configs_for_tests/diffkd_panoptic_deeplab_r18": {"panoptic_seg"},
}


@pytest.mark.parametrize("name", FAMILIES, ids=lambda name: name.split("/")[-1])
def test_two_steps_and_every_metric_of_the_family(name, small_datasets, tmp_path):
    pytest.importorskip("timm")
    if name.endswith("vitdet") and importlib.util.find_spec("detectron2.modeling.backbone.vit") is None:
        pytest.skip("Detectron2 v0.6 has no ViTDet")
    two_steps(f"{name}.py", small_datasets, tmp_path)
    results = json.loads((tmp_path / "results.json").read_text())
    assert set(results) == FAMILIES[name]
    lines = [json.loads(line) for line in (tmp_path / "metrics.json").read_text().splitlines()]
    losses = {k: v for line in lines for k, v in line.items() if k.startswith("loss_kd")}
    assert losses and all(np.isfinite(v) and v > 0 for v in losses.values())
    assert "distillers" in torch.load(tmp_path / "model_final.pth", weights_only=True)
