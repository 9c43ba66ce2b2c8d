"""Provide the evaluation packages that Detectron2 imports if they are missing or have another import path."""

import importlib
import importlib.machinery
import importlib.util
import os
import sys
import types

import numpy as np

from ..errors import UserError

# Detectron2's main branch imports cityscapesscripts from this path of Meta's own repository since 2026.
_META = "deeplearning.projects.cityscapesApi.cityscapesscripts"
_CITYSCAPES = (
    "helpers.labels",
    "evaluation.evalInstanceLevelSemanticLabeling",
    "evaluation.evalPixelLevelSemanticLabeling",
)


def provide_cityscapes() -> None:
    """Make cityscapesscripts importable for every version of Detectron2.

    Raises:
        UserError: if cityscapesscripts is not installed.
    """
    _require_cityscapesscripts()
    _provide_older_numpy()
    parents = _META.split(".")
    if parents[0] in sys.modules or importlib.util.find_spec(parents[0]) is not None:
        return  # called before, or Meta's own package is installed
    for i in range(1, len(parents)):
        _add_module(".".join(parents[:i]))
    sys.modules[_META] = importlib.import_module("cityscapesscripts")
    for name in _CITYSCAPES:
        sys.modules[f"{_META}.{name}"] = importlib.import_module(f"cityscapesscripts.{name}")


def provide_lvis() -> None:
    """Give lvis 0.5.3 (the last release) `np.float`, which numpy has removed in 1.24."""
    if not hasattr(np, "float"):
        vars(importlib.import_module("lvis.eval"))["np"] = types.SimpleNamespace(**vars(np), float=float)


def provide_panopticapi() -> None:
    """Provide a substitute for panopticapi, which no package index has, if it is not installed.

    cityscapesscripts, which contains panopticapi's code, then computes PQ (Kirillov et al., arXiv 1801.00868). A test
    compares it with a value computed by hand.

    Raises:
        UserError: if neither panopticapi nor cityscapesscripts is installed.
    """
    if "panopticapi" in sys.modules or importlib.util.find_spec("panopticapi") is not None:
        return
    _require_cityscapesscripts()
    _add_module("panopticapi")
    _add_module("panopticapi.utils", rgb2id=rgb2id, id2rgb=id2rgb)
    _add_module("panopticapi.evaluation", pq_compute=pq_compute)


def provide_what_is_installed() -> None:
    """Call `provide_cityscapes` and `provide_panopticapi` if cityscapesscripts is installed."""
    if importlib.util.find_spec("cityscapesscripts") is not None:
        provide_cityscapes()
        provide_panopticapi()


def rgb2id(color: np.ndarray) -> np.ndarray:
    """Return the segment ids (H, W) of a panoptic image (H, W, 3): R + 256 G + 65536 B."""
    return np.asarray(color).astype(np.int64) @ (1, 256, 65536)


def id2rgb(ids: np.ndarray) -> np.ndarray:
    """Return the panoptic image (H, W, 3), uint8, of segment ids (H, W): the inverse of `rgb2id`."""
    return np.stack([np.asarray(ids) >> shift & 255 for shift in (0, 8, 16)], axis=-1).astype(np.uint8)


def pq_compute(gt_json_file: str, pred_json_file: str, gt_folder: str, pred_folder: str) -> dict:
    """Return "All", "Things" and "Stuff", each with "pq", "sq", "rq" in [0, 1] and "n", as panopticapi does.

    Args:
        gt_json_file: ground truth in COCO's panoptic format.
        pred_json_file: predictions in the same format.
        gt_folder: folder of the ground-truth PNGs.
        pred_folder: folder of the predicted PNGs.
    """
    from cityscapesscripts.evaluation.evalPanopticSemanticLabeling import evaluatePanoptic

    return evaluatePanoptic(gt_json_file, gt_folder, pred_json_file, pred_folder, os.devnull)


def _provide_older_numpy() -> None:
    """Give cityscapesscripts 2.3.0 (the last release) the numpy API from before 2.4: `in1d`, and counts as int."""
    if not hasattr(np, "in1d"):
        older = dict(vars(np), in1d=np.isin, count_nonzero=lambda x: int(np.count_nonzero(x)))
        for name in _CITYSCAPES[1:]:
            vars(importlib.import_module(f"cityscapesscripts.{name}"))["np"] = types.SimpleNamespace(**older)


def _require_cityscapesscripts() -> None:
    if importlib.util.find_spec("cityscapesscripts") is None:
        raise UserError("evaluation on Cityscapes and of PQ needs cityscapesscripts: pip install cityscapesscripts")


def _add_module(name: str, **contents: object) -> None:
    """Register a package with `contents`, so that `import name` finds it."""
    module = sys.modules.setdefault(name, types.ModuleType(name))
    module.__path__ = []
    module.__spec__ = importlib.machinery.ModuleSpec(name, None, is_package=True)
    module.__dict__.update(contents)
    parent, _, child = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], child, module)
