"""Substitutes for evaluation packages that Detectron2 imports and that may be missing or elsewhere."""

import importlib
import importlib.util
import os
import sys
import types

import numpy as np

from ..errors import UserError

# Where Detectron2's main branch looks for cityscapesscripts since 2026: a path of Meta's own repository.
_META = "deeplearning.projects.cityscapesApi.cityscapesscripts"
_CITYSCAPES = (
    "helpers.labels",
    "evaluation.evalInstanceLevelSemanticLabeling",
    "evaluation.evalPixelLevelSemanticLabeling",
)


def provide_cityscapes() -> None:
    """Let every version of Detectron2 find cityscapesscripts.

    Raises:
        UserError: if cityscapesscripts is not installed.
    """
    _require_cityscapesscripts()
    _provide_former_numpy()
    parents = _META.split(".")
    if parents[0] in sys.modules or importlib.util.find_spec(parents[0]) is not None:
        return  # called before, or Meta's own package is installed
    for i in range(1, len(parents)):
        _add_module(".".join(parents[:i]))
    sys.modules[_META] = importlib.import_module("cityscapesscripts")
    for name in _CITYSCAPES:
        sys.modules[f"{_META}.{name}"] = importlib.import_module(f"cityscapesscripts.{name}")


def provide_panopticapi() -> None:
    """Provide a substitute for panopticapi, which no package index has, if it is not installed.

    PQ is then computed by cityscapesscripts, in which panopticapi's code lives on (Kirillov et al., 1801.00868);
    a test holds it to a value worked out by hand.

    Raises:
        UserError: if neither panopticapi nor cityscapesscripts is installed.
    """
    if "panopticapi" in sys.modules or importlib.util.find_spec("panopticapi") is not None:
        return
    _require_cityscapesscripts()
    _add_module("panopticapi")
    _add_module("panopticapi.utils", rgb2id=rgb2id, id2rgb=id2rgb)
    _add_module("panopticapi.evaluation", pq_compute=pq_compute)


def rgb2id(color: np.ndarray) -> np.ndarray:
    """Return the segment ids (H, W) of a panoptic image (H, W, 3): R + 256 G + 65536 B."""
    return np.asarray(color).astype(np.int64) @ (1, 256, 65536)


def id2rgb(ids: np.ndarray) -> np.ndarray:
    """Return the panoptic image (H, W, 3), uint8, of segment ids (H, W): the inverse of `rgb2id`."""
    return np.stack([np.asarray(ids) >> shift & 255 for shift in (0, 8, 16)], axis=-1).astype(np.uint8)


def pq_compute(gt_json_file: str, pred_json_file: str, gt_folder: str, pred_folder: str) -> dict:
    """Return "All", "Things" and "Stuff", each with "pq", "sq", "rq" in [0, 1] and "n", as panopticapi does.

    Args:
        gt_json_file: the truth, in COCO's panoptic format.
        pred_json_file: the prediction, in the same format.
        gt_folder: of the truth's images.
        pred_folder: of the prediction's images.
    """
    from cityscapesscripts.evaluation.evalPanopticSemanticLabeling import evaluatePanoptic

    return evaluatePanoptic(gt_json_file, gt_folder, pred_json_file, pred_folder, os.devnull)


def _provide_former_numpy() -> None:
    """Give cityscapesscripts 2.3.0, its last release, numpy's interface from before 2.4: in1d, and int counts."""
    if not hasattr(np, "in1d"):
        former = dict(vars(np), in1d=np.isin, count_nonzero=lambda x: int(np.count_nonzero(x)))
        for name in _CITYSCAPES[1:]:
            vars(importlib.import_module(f"cityscapesscripts.{name}"))["np"] = types.SimpleNamespace(**former)


def _require_cityscapesscripts() -> None:
    if importlib.util.find_spec("cityscapesscripts") is None:
        raise UserError("evaluation on Cityscapes and of PQ needs cityscapesscripts: pip install cityscapesscripts")


def _add_module(name: str, **contents: object) -> None:
    """Register an empty package, or one with `contents`, so that `import name` finds it."""
    module = sys.modules.setdefault(name, types.ModuleType(name))
    module.__path__ = []
    module.__dict__.update(contents)
    parent, _, child = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], child, module)
