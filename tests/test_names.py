"""Dotted names of the package that pages, docstrings and configs mention."""

import pkgutil
import re
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[1]
FOLDERS = ("diffkd_d2", "configs", "tools", "docs")
FILES = [*REPO.glob("*.md"), *(p for f in FOLDERS for p in (REPO / f).rglob("*") if p.suffix in (".py", ".md"))]


def mentioned(text: str) -> set[str]:
    return set(re.findall(r"\bdiffkd_d2(?:\.[A-Za-z_]\w*)+", text))


@pytest.mark.parametrize("name", sorted(set().union(*(mentioned(p.read_text()) for p in FILES))))
def test_the_name_exists(name):
    assert pkgutil.resolve_name(name.removesuffix(".py")) is not None


def test_a_name_that_is_gone_is_found():
    (name,) = mentioned("`python -m diffkd_d2.data.shapes`")
    with pytest.raises((ImportError, AttributeError)):
        pkgutil.resolve_name(name)
