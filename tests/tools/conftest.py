"""A small comparison that the tests of compare.py and report.py read."""

from pathlib import Path

import pytest
from comparing import Compare


@pytest.fixture(scope="session")
def compare(tiny_datasets) -> Compare:
    """Return what calls compare.py."""
    return Compare(tiny_datasets)


@pytest.fixture(scope="session")
def comparison(compare, tmp_path_factory) -> Path:
    """Return the folder of a finished comparison: alone, DiffKD, and DiffKD with weights of zero, two seeds."""
    output = tmp_path_factory.mktemp("comparison") / "out"
    compare.finish(compare.words(output))
    return output
