"""Compare docs/options.md with the options and flags of the code."""

import re
from pathlib import Path

import pytest
from omegaconf import DictConfig

from diffkd_d2.engine.config import argument_parser
from diffkd_d2.engine.defaults import distill_defaults, train_defaults

ROWS = [
    line.split("|")[1]
    for line in (Path(__file__).parents[1] / "docs/options.md").read_text().splitlines()
    if line.startswith("| `")
]


def names(node: DictConfig, prefix: str) -> set[str]:
    found = set()
    for key, value in node.items():
        found |= names(value, f"{prefix}.{key}") if isinstance(value, DictConfig) else {f"{prefix}.{key}"}
    return found


@pytest.mark.parametrize(("part", "defaults"), [("train", train_defaults), ("distill", distill_defaults)])
def test_options_are_documented(part, defaults):
    assert set(re.findall(rf"`({part}\.[\w.]+)`", " ".join(ROWS))) == names(defaults(), part)


def test_flags_are_documented():
    flags = {flag for action in argument_parser()._actions for flag in action.option_strings} - {"-h", "--help"}
    assert set(re.findall(r"`(--[\w-]+)", " ".join(ROWS))) == flags
