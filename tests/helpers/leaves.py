"""The leaf configs: those that the repository ships, and those that only tests train."""

import copy
import functools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from omegaconf import DictConfig

from diffkd_d2.engine.config import load_config
from diffkd_d2.errors import UserError

REPO = Path(__file__).resolve().parents[2]
ROOT = REPO / "configs"
LEAVES = sorted(p for p in ROOT.glob("*/*.py") if p.parent.name != "common")
TEST_LEAVES = sorted((REPO / "tests" / "configs_for_tests").glob("*.py"))


@functools.cache
def _load(path: Path) -> DictConfig:
    return load_config(str(path), [])


def load(path: Path) -> DictConfig:
    """Return a config of the caller's own; skip the test where this Detectron2 lacks its model."""
    try:
        return copy.deepcopy(_load(path))
    except UserError as error:
        if "no ViTDet" not in str(error):
            raise
        pytest.skip(str(error))


@contextmanager
def without_random_weights() -> Iterator[None]:
    """Build models quickly, for tests that look at names and shapes: their weights stay what was in memory."""
    with (
        patch.object(torch.Tensor, "normal_", lambda x, *_, **__: x),
        patch.object(torch.Tensor, "uniform_", lambda x, *_, **__: x),
    ):
        yield


def is_classifier(cfg):
    return "Classifier" in str(cfg.model.student._target_)
