"""What every test has: the same seeds, no network, and the real data where it is there."""

import json
import os
import random
from pathlib import Path

import numpy as np
import pytest
from quick_start import stop_servers

# torch is imported by what needs it: pytest-xdist's first process, which runs no test, starts without it.
os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: the models are small, and two processes share two cores
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # diffusers is used for its arithmetic, not for its files

REPO = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def seeds() -> None:
    """Start each test from the same random state, so that none depends on what ran before it."""
    import torch

    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests of tools first: one process then has them all, and makes the comparison that they share once."""
    items.sort(key=lambda item: "tools" not in item.path.parts)


def pytest_unconfigure() -> None:
    """End the processes that started programs quickly."""
    stop_servers()


@pytest.fixture(scope="session")
def small_datasets(tmp_path_factory) -> Path:
    """Return a folder of datasets that holds a small `shapes` where the configs expect the large one."""
    return write_shapes(tmp_path_factory.mktemp("datasets"), num_val=30)


@pytest.fixture(scope="session")
def tiny_datasets(tmp_path_factory) -> Path:
    """Return the same with 6 images to evaluate on, for tests that do not look at the numbers."""
    return write_shapes(tmp_path_factory.mktemp("tiny"), num_val=6)


def write_shapes(root: Path, num_val: int) -> Path:
    """Write 16 training images and some to evaluate on, and claim that they are all; return the folder."""
    from diffkd_d2.datasets.shapes import generate

    folder = generate(root, num_train=16, num_val=num_val)
    info = json.loads((folder / "info.json").read_text())
    (folder / "info.json").write_text(json.dumps(dict(info, num_train=2000, num_val=500)))
    return root


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Return the folder of real images that lies beside the repository, or skip the test."""
    path = REPO.parent / "shared" / "data"
    if not path.is_dir():
        pytest.skip("no real data: ../shared/data is not there")
    return path
