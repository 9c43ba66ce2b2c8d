"""Installs diffkd_d2. Detectron2 is no requirement here, since no index has it: see packaging/detectron2."""

import importlib.machinery
import re
import site
import sys
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).resolve().parent


def read_version() -> str:
    """Return `__version__` of the package without importing it."""
    text = (ROOT / "diffkd_d2" / "__init__.py").read_text(encoding="utf-8")
    return re.search(r'^__version__ = "([^"]+)"$', text, re.MULTILINE).group(1)


def opencv() -> list[str]:
    """Return the OpenCV to install: none where a cv2 of any packaging is there already."""
    # pip builds in isolation, where sys.path lacks the environment that is installed into: hence site's folders.
    found = importlib.machinery.PathFinder.find_spec("cv2", [*sys.path, *site.getsitepackages()])
    return [] if found else ["opencv-python-headless>=4.5"]


setup(
    version=read_version(),
    packages=find_packages(include=["diffkd_d2", "diffkd_d2.*"]),
    package_data={"diffkd_d2": ["py.typed"]},
    install_requires=[
        # Reading a checkpoint relies on weights_only, which ran code before 2.6 (CVE-2025-32434).
        "torch>=2.6",
        "torchvision>=0.21",
        "numpy>=1.23",
        "fvcore>=0.1.5",
        "omegaconf>=2.1",
        "hydra-core>=1.1",
        "pydantic>=2.5",
        "pycocotools>=2.0.6",
        *opencv(),
    ],
    extras_require={
        "timm": ["timm>=1.0"],
        "cityscapes": ["cityscapesscripts", "shapely"],
        "compare": ["jinja2", "scipy", "tabulate"],
        "dev": ["diffusers", "hypothesis", "mypy", "pytest", "ruff"],
    },  # the tested versions: requirements.txt
)
