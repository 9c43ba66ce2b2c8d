"""Small data for many short runs."""

import json
from pathlib import Path

import pytest

from diffkd_d2.datasets.shapes import generate


@pytest.fixture(scope="session")
def tiny_datasets(tmp_path_factory) -> Path:
    """Return a folder of datasets with a `shapes` of 16 and 6 images."""
    root = tmp_path_factory.mktemp("tiny")
    folder = generate(root, num_train=16, num_val=6)
    info = json.loads((folder / "info.json").read_text())
    (folder / "info.json").write_text(json.dumps(dict(info, num_train=2000, num_val=500)))
    return root
