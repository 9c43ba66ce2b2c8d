"""The memory that docs/methods.md and the docstrings state, counted at a quarter of the size."""

import re
from pathlib import Path

import pytest
from method_memory import NAMES, kept, ratio

from diffkd_d2 import distillers

SHRINK = 4
LIMIT = 1.2
ROWS = dict(re.findall(r"^\| (`\w+`[^|]*) \| ([\d.]+) \| [\d.]+ \|$", Path("docs/methods.md").read_text(), re.M))


@pytest.mark.parametrize("name", NAMES)
def test_stated_memory(name):
    of_maps = "ROI rows" not in name and "the same" not in name
    # Matrices of channels by channels do not shrink with the map.
    shrink = 1 if name == "`Pairwise`" or not of_maps else SHRINK
    size = kept(name, shrink) * shrink**2
    stated = float(ROWS[name]) * 1e6
    assert size == pytest.approx(stated, rel=0.08, abs=1e5)
    method = getattr(distillers, name.split("`")[1])
    if ratio(name, stated) > LIMIT:
        assert f"{ratio(name, stated):.2f} times" in method.__doc__


def test_every_method_is_in_the_table():
    assert {name.split("`")[1] for name in NAMES} == set(distillers.__all__) == {name.split("`")[1] for name in ROWS}
