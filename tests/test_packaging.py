"""The recipe of the pure-Python wheel, without the network."""

import importlib
import sys
from pathlib import Path

import detectron2
import pytest
import torch

FOLDER = Path(__file__).resolve().parents[1] / "packaging" / "detectron2"


@pytest.fixture
def recipe(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    yield importlib.import_module("backend"), importlib.import_module("rewrites")
    for name in ("backend", "rewrites"):
        sys.modules.pop(name, None)


def test_unmatched_rewrite_stops_the_build(recipe):
    _, rewrites = recipe
    table = (rewrites.Rewrite(r".*\.py$", r"\bold\b", "new", 2, "a reason"),)
    assert rewrites.apply({"a.py": "old = 1\nold", "b.txt": "old"}, table) == {"a.py": "new = 1\nnew", "b.txt": "old"}
    with pytest.raises(ValueError, match="matched 1 times, expected 2"):
        rewrites.apply({"a.py": "old"}, table)


def test_another_archive_is_refused(recipe):
    with pytest.raises(ValueError, match="sha256"):
        recipe[0].check_hash(b"another archive")


@pytest.mark.skipif(not detectron2.__version__.endswith("0.6"), reason="not the wheel of v0.6")
def test_wheel_keeps_the_learning_rate_schedule():
    from detectron2.solver.lr_scheduler import LRMultiplier

    assert issubclass(LRMultiplier, torch.optim.lr_scheduler.LRScheduler)


def test_a_missing_operator_is_named():
    spec = importlib.util.spec_from_file_location("stub_C", FOLDER / "_C.py")
    stub = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(stub)
    assert "pure" in stub.get_compiler_version()
    with pytest.raises(NotImplementedError, match="nms_rotated"):
        stub.nms_rotated()


def test_pascal_voc_can_be_read(tmp_path):
    from detectron2.data.datasets.pascal_voc import load_voc_instances

    for folder in ("Annotations", "ImageSets/Main", "JPEGImages"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "ImageSets" / "Main" / "val.txt").write_text("a\nb\n")
    text = "<annotation><size><width>4</width><height>3</height></size></annotation>"
    for name in "ab":
        (tmp_path / "Annotations" / f"{name}.xml").write_text(text)
    assert [x["image_id"] for x in load_voc_instances(str(tmp_path), "val", ["cat"])] == ["a", "b"]
