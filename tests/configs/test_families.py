"""One small pair of each model family: two steps and the evaluation."""

import importlib.util
import json

import numpy as np
import pytest
import torch
from families import DETECTORS
from two_steps import two_steps

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", DETECTORS, ids=lambda name: name.split("/")[-1])
def test_two_steps_and_every_metric_of_the_family(name, tiny_datasets, tmp_path):
    pytest.importorskip("timm")
    if name.endswith("vitdet") and importlib.util.find_spec("detectron2.modeling.backbone.vit") is None:
        pytest.skip("Detectron2 v0.6 has no ViTDet")
    two_steps(f"{name}.py", tiny_datasets, tmp_path)
    results = json.loads((tmp_path / "results.json").read_text())
    assert set(results) == DETECTORS[name]
    lines = [json.loads(line) for line in (tmp_path / "metrics.json").read_text().splitlines()]
    losses = {k: v for line in lines for k, v in line.items() if k.startswith("loss_kd")}
    assert losses and all(np.isfinite(v) and v > 0 for v in losses.values())
    assert "distillers" in torch.load(tmp_path / "model_final.pth", weights_only=True)
