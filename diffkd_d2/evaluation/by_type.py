"""Choose the evaluator of a dataset by its metadata's `evaluator_type`, as Detectron2's tools do."""

from .. import _detectron2  # noqa: F401

# isort: split

from typing import Any

from detectron2.data import MetadataCatalog
from detectron2.evaluation import (
    CityscapesInstanceEvaluator,
    CityscapesSemSegEvaluator,
    COCOEvaluator,
    COCOPanopticEvaluator,
    DatasetEvaluator,
    DatasetEvaluators,
    LVISEvaluator,
    PascalVOCDetectionEvaluator,
    SemSegEvaluator,
)

from ..errors import UserError
from .third_party import provide_cityscapes, provide_panopticapi

# use_fast_impl=False, because a pure-Python Detectron2 lacks COCOEvaluator's C++ code; the results are the same.
_MAKERS = {
    "coco": lambda name, folder, sigmas: [_coco(name, folder, sigmas)],
    "sem_seg": lambda name, folder, sigmas: [SemSegEvaluator(name, output_dir=folder)],
    "coco_panoptic_seg": lambda name, folder, sigmas: [
        *(SemSegEvaluator(name, output_dir=folder), _coco(name, folder, sigmas), COCOPanopticEvaluator(name, folder))
    ],
    "cityscapes_instance": lambda name, folder, sigmas: [CityscapesInstanceEvaluator(name)],
    "cityscapes_sem_seg": lambda name, folder, sigmas: [CityscapesSemSegEvaluator(name)],
    "pascal_voc": lambda name, folder, sigmas: [PascalVOCDetectionEvaluator(name)],
    "lvis": lambda name, folder, sigmas: [LVISEvaluator(name, output_dir=folder)],
}


def evaluator_of(dataset_name: str, output_dir: str, keypoint_sigmas: list[float] | None = None) -> DatasetEvaluator:
    """Return the evaluator for a registered dataset.

    Args:
        dataset_name: name of a registered dataset.
        output_dir: folder for its predictions.
        keypoint_sigmas: sigmas of COCO's keypoint similarity (TEST.KEYPOINT_OKS_SIGMAS). If None, COCO's own.

    Raises:
        UserError: if the dataset's metadata has no `evaluator_type`, or one that Detectron2's tools do not know.
    """
    kind = MetadataCatalog.get(dataset_name).get("evaluator_type")
    if kind not in _MAKERS:
        raise UserError(
            f"dataset {dataset_name}: its metadata's evaluator_type is {kind}, expected one of {', '.join(_MAKERS)}; "
            "a project's Trainer.build_evaluator may know it (--project)"
        )
    if kind.startswith("cityscapes"):
        provide_cityscapes()
    if kind == "coco_panoptic_seg":
        provide_panopticapi()
    evaluators = _MAKERS[kind](dataset_name, output_dir, keypoint_sigmas)
    return evaluators[0] if len(evaluators) == 1 else DatasetEvaluators(evaluators)


def _coco(name: str, folder: str, sigmas: Any) -> COCOEvaluator:
    return COCOEvaluator(name, output_dir=folder, use_fast_impl=False, kpt_oks_sigmas=tuple(sigmas or ()))
