"""Holds the import arrows of the package: the core is torch and the standard library, and points one way."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[1]
PACKAGE = "diffkd_d2"

# The rooms of the core, and which other rooms of the package each may import. A room is a module or a folder directly
# below the package.
ARROWS = {
    "errors": set(),
    "meta_arch": {"errors"},
    "diffusion": {"errors"},
    "distillers": {"diffusion", "errors"},
    "recipes": {"distillers", "meta_arch", "errors"},
}


def imported(source: str, package: str) -> set[str]:
    """Return the absolute dotted names that `source`, a module of `package`, imports at any depth."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            # `from . import capture` names a room; from a longer path the room is in the path already.
            names |= {f"{base}.{alias.name}" for alias in node.names} if base == PACKAGE else {base}
    return names


def violations(source: str, path: str) -> list[str]:
    """Return what the file `path` ("diffkd_d2/meta_arch/capture.py") imports against the arrows."""
    parts = Path(path).with_suffix("").parts
    room = parts[1]
    if room == "__init__":
        return sorted(imported(source, PACKAGE))
    bad = []
    for name in imported(source, ".".join(Path(path).parent.parts)):
        top, _, rest = name.partition(".")
        if top == PACKAGE:
            other = rest.split(".")[0]
            allowed = other == room or other in ARROWS[room]
        else:
            allowed = top in sys.stdlib_module_names or (top == "torch" and room != "errors")
        if not allowed:
            bad.append(name)
    return sorted(bad)


def core_files() -> list[str]:
    """Return the files of the core, relative to the repository."""
    found = [REPO / PACKAGE / "__init__.py"]
    for room in ARROWS:
        found += [REPO / PACKAGE / f"{room}.py"] if (REPO / PACKAGE / f"{room}.py").exists() else []
        found += sorted((REPO / PACKAGE / room).rglob("*.py"))
    return [path.relative_to(REPO).as_posix() for path in found]


@pytest.mark.parametrize("path", core_files())
def test_core_file_follows_the_arrows(path: str) -> None:
    assert violations((REPO / path).read_text(encoding="utf-8"), path) == []


@pytest.mark.parametrize("room", ARROWS)
def test_every_room_has_files(room: str) -> None:
    assert any(Path(path).with_suffix("").parts[1] == room for path in core_files())


@pytest.mark.parametrize(
    ("path", "source", "expected"),
    [
        ("diffkd_d2/__init__.py", "import torch", ["torch"]),
        ("diffkd_d2/__init__.py", "from .meta_arch import capture", ["diffkd_d2.meta_arch"]),
        ("diffkd_d2/errors.py", "import torch", ["torch"]),
        ("diffkd_d2/meta_arch/capture.py", "import detectron2.layers", ["detectron2.layers"]),
        ("diffkd_d2/meta_arch/capture.py", "def f():\n    from fvcore.nn import focal", ["fvcore.nn"]),
        ("diffkd_d2/meta_arch/capture.py", "import torchvision", ["torchvision"]),
        ("diffkd_d2/meta_arch/distilled_model.py", "from .. import distillers", ["diffkd_d2.distillers"]),
        (
            "diffkd_d2/meta_arch/distilled_model.py",
            "from ..distillers.mimic import Mimic",
            ["diffkd_d2.distillers.mimic"],
        ),
        (
            "diffkd_d2/meta_arch/distilled_model.py",
            "import diffkd_d2.modeling.teacher",
            ["diffkd_d2.modeling.teacher"],
        ),
        ("diffkd_d2/diffusion/denoiser.py", "from ..distillers import Mimic", ["diffkd_d2.distillers"]),
        ("diffkd_d2/diffusion/__init__.py", "from .. import meta_arch", ["diffkd_d2.meta_arch"]),
        (
            "diffkd_d2/distillers/mimic.py",
            "from ..meta_arch.distilled_model import x",
            ["diffkd_d2.meta_arch.distilled_model"],
        ),
        ("diffkd_d2/distillers/mimic.py", "from diffkd_d2 import modeling", ["diffkd_d2.modeling"]),
    ],
)
def test_the_checker_refuses(path: str, source: str, expected: list[str]) -> None:
    assert violations(source, path) == expected


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("diffkd_d2/meta_arch/capture.py", "import math\nfrom torch import nn\nfrom ..errors import UserError"),
        (
            "diffkd_d2/meta_arch/distilled_model.py",
            "from .capture import capture\nfrom diffkd_d2.errors import nearest",
        ),
        ("diffkd_d2/diffusion/__init__.py", "from .schedule import NoiseSchedule"),
        (
            "diffkd_d2/distillers/diffkd.py",
            "import torch.nn.functional as F\nfrom ..diffusion.layers import x",
        ),
    ],
)
def test_the_checker_admits(path: str, source: str) -> None:
    assert violations(source, path) == []


def test_importing_the_core_loads_no_detectron2() -> None:
    modules = [path.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for path in core_files()]
    # A third-party package that torch itself may load (numpy) is none of our business; these are.
    program = (
        f"import importlib, sys\nfor name in {modules!r}: importlib.import_module(name)\n"
        "heavy = {'detectron2', 'fvcore', 'omegaconf', 'torchvision', 'cv2', 'timm'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=REPO, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


def test_the_package_itself_loads_nothing() -> None:
    program = "import sys; before = set(sys.modules); import diffkd_d2; print(sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", program], cwd=REPO, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "['diffkd_d2']"), done.stderr


@pytest.mark.parametrize(
    "what", ["import diffkd_d2.modeling.teacher", "import diffkd_d2.datasets.shapes", "import train_net"]
)
def test_without_detectron2_one_line_says_how_to_get_it(what: str) -> None:
    program = f"import sys; sys.modules['detectron2'] = None\n{what}"
    done = subprocess.run([sys.executable, "-c", program], cwd=REPO, capture_output=True, text=True, check=False)
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 1 and "pip install ./packaging/detectron2" in last, done.stderr
