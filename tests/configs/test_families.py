"""One small pair of each model family, as its config in configs/shapes is shipped: two steps and the evaluation."""

import importlib.util
import json

import numpy as np
import pytest
import torch
from two_steps import two_steps

pytestmark = pytest.mark.slow

FAMILIES = {
    "faster_diffkd_r18": {"bbox"},
    "semantic_diffkd_r18": {"sem_seg"},
    "fcos_diffkd_r18": {"bbox"},
    "cascade_diffkd_r18": {"bbox"},
    "mask_diffkd_r18": {"bbox", "segm"},
    "keypoint_diffkd_r18": {"bbox", "keypoints"},
    "point_rend_diffkd_r18": {"bbox", "segm"},
    "vitdet_diffkd_r18": {"bbox", "segm"},
    "panoptic_diffkd_r18": {"bbox", "segm", "sem_seg", "panoptic_seg"},
    "semantic_diffkd_logits_r18": {"sem_seg"},
    "deeplab_v3_diffkd_r18": {"sem_seg"},
    "deeplab_v3_plus_diffkd_r18": {"sem_seg"},
    "panoptic_deeplab_diffkd_r18": {"panoptic_seg"},
}


@pytest.mark.parametrize("name", FAMILIES)
def test_two_steps_and_every_metric_of_the_family(name, small_datasets, tmp_path):
    pytest.importorskip("timm")
    if name.startswith("vitdet") and importlib.util.find_spec("detectron2.modeling.backbone.vit") is None:
        pytest.skip("Detectron2 v0.6 has no ViTDet")
    two_steps(f"shapes/{name}", small_datasets, tmp_path)
    results = json.loads((tmp_path / "results.json").read_text())
    assert set(results) == FAMILIES[name]
    lines = [json.loads(line) for line in (tmp_path / "metrics.json").read_text().splitlines()]
    losses = {k: v for line in lines for k, v in line.items() if k.startswith("loss_kd")}
    assert losses and all(np.isfinite(v) and v > 0 for v in losses.values())
    assert "distillers" in torch.load(tmp_path / "model_final.pth", weights_only=True)
