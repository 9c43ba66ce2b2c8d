"""The leaf configs: those that the repository ships, and those that only tests train."""

from pathlib import Path

import pytest

from diffkd_d2.engine.config import load_config
from diffkd_d2.errors import UserError

REPO = Path(__file__).resolve().parents[2]
ROOT = REPO / "configs"
LEAVES = sorted(p for p in ROOT.glob("*/*.py") if p.parent.name != "common")
TEST_LEAVES = sorted((REPO / "tests" / "configs_for_tests").glob("*.py"))


def load(path):
    """Load a config; skip the test where this Detectron2 lacks its model."""
    try:
        return load_config(str(path), [])
    except UserError as error:
        if "no ViTDet" not in str(error):
            raise
        pytest.skip(str(error))


def is_classifier(cfg):
    return "Classifier" in str(cfg.model.student._target_)
