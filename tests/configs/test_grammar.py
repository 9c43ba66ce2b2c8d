"""How configs are written: their names, their chains, their form, the template, and the README's example."""

import ast
import re
import shutil
from pathlib import Path

import pytest
from leaves import LEAVES, ROOT, TEST_LEAVES, load

from diffkd_d2.engine.config import load_config

SIX = {"dataloader", "distill", "lr_multiplier", "model", "optimizer", "train"}
NAME = re.compile(r"(?P<method>alone|teacher|mimic|diffkd|kd|dist|pkd|cwd|mgd|fgd)_(?P<student>\w+?)(_from_\w+)?")


def imported_leaves(path: Path) -> list[Path]:
    """Return the other leaves that a config imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            folder = path.parents[node.level - 1]
            found.add(folder.joinpath(*node.module.split(".")).with_suffix(".py"))
    return sorted(p for p in found if "common" not in p.parts)


def named_teachers(path: Path) -> list[Path]:
    """Return the leaves that a config names by `teacher_trained_by`."""
    calls = re.findall(r"teacher_trained_by\(\s*\"([^\"]+)\"", path.read_text())
    return [path.parent / call for call in calls]


def depth(path: Path) -> int:
    """Return how many leaves stand above one another: 1 for a config that needs no other."""
    return 1 + max((depth(p) for p in [*imported_leaves(path), *named_teachers(path)]), default=0)


def ids(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


@pytest.mark.parametrize("path", LEAVES, ids=ids)
def test_leaf_names_and_imports(path):
    name = NAME.fullmatch(path.stem)
    assert name
    allowed = path.with_name(f"alone_{name['student']}.py")
    assert set(imported_leaves(path)) <= ({allowed} if name["method"] not in ("alone", "teacher") else set())


def test_the_deepest_chain_is_two():
    assert max(depth(path) for path in LEAVES) == 2


def test_chain_length_counts_imports_and_teachers(tmp_path):
    folder = tmp_path / "shapes"
    folder.mkdir()
    (folder / "a.py").write_text('from .b import model\nfrom ..common.x import y\nteacher_trained_by("c.py")\n')
    (folder / "b.py").write_text("")
    (folder / "c.py").write_text("from .d import model\n")
    (folder / "d.py").write_text("")
    assert depth(folder / "a.py") == 3 and depth(folder / "c.py") == 2 and depth(folder / "b.py") == 1


@pytest.mark.parametrize("path", [*LEAVES, *TEST_LEAVES], ids=ids)
def test_leaf_is_short_with_a_docstring(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 25
    assert re.match(r'"""[A-Z].*\."""\n', text)


@pytest.mark.parametrize("path", [*LEAVES, *TEST_LEAVES, ROOT / "template.py"], ids=ids)
def test_a_leaf_defines_the_six_names_and_no_other(path):
    cfg = load(path)
    assert set(cfg) - {"teacher"} == SIX  # `teacher` names the weights that are shipped
    assert cfg.model.shared_distiller is False  # so that an override needs no "+"


def test_the_example_of_the_readme_loads(tmp_path):
    shutil.copytree(ROOT, tmp_path / "configs")
    ((name, text),) = re.findall(r"^```python (\S+)\n(.*?)^```$", (ROOT / "README.md").read_text(), re.M | re.S)
    (tmp_path / name).parent.mkdir()
    (tmp_path / name).write_text(text)
    cfg = load_config(str(tmp_path / name), [])
    assert set(cfg) == SIX and "X_101" in cfg.model.teacher.weights


def test_teacher_trained_by():
    teacher = load(ROOT / "bccd" / "diffkd_retinanet_r18.py").model.teacher
    trained = load(ROOT / "bccd" / "teacher_retinanet_r50.py")
    assert teacher.model == trained.model.student
    assert teacher.weights == f"{trained.train.output_dir}/model_final.pth"
    shipped = load(ROOT / "shapes" / "diffkd_retinanet_r18.py").model.teacher
    assert shipped.weights == "assets/shapes_teacher_r50.pth"
