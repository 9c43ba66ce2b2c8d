"""Try the evaluators on a model's first prediction; leave out what a teacher does not predict."""

import logging
import traceback
from collections.abc import Sequence
from typing import Any

import torch
from detectron2.evaluation import (
    CityscapesSemSegEvaluator,
    COCOEvaluator,
    COCOPanopticEvaluator,
    DatasetEvaluator,
    PascalVOCDetectionEvaluator,
    SemSegEvaluator,
    inference_context,
)
from detectron2.structures.keypoints import heatmaps_to_keypoints
from detectron2.utils import comm
from torch import nn

from ..errors import ProjectError, UserError
from .build import explained_errors
from .evaluators import EvaluationSet, is_shipped, one_line_evaluator

logger = logging.getLogger(__name__)

# The entry of an output without which an evaluator of Detectron2 fails. COCO's, LVIS's and Cityscapes' instance
# evaluators take an output without "instances" as no detection, as Panoptic-DeepLab means it. A subclass may read
# others.
READS: dict[type[DatasetEvaluator], str] = {
    PascalVOCDetectionEvaluator: "instances",
    SemSegEvaluator: "sem_seg",
    CityscapesSemSegEvaluator: "sem_seg",
    COCOPanopticEvaluator: "panoptic_seg",
}
TRIED = 5  # images
TASK_FIELDS = {"segm": "pred_masks", "keypoints": "pred_keypoints"}  # of COCOEvaluator's tasks


def try_outputs(model: nn.Module, sets: Sequence[EvaluationSet]) -> None:
    """Predict the first image of each test set, or its first batch, and let the evaluators process the result.

    The random generators and the evaluators are restored.

    Raises:
        UserError: if the model cannot predict the image, or an output that an evaluator needs is missing.
    """
    for name, loader, evaluators in sets:
        try:
            inputs, outputs = _first_prediction(model, name, loader)
        except (UserError, ProjectError) as error:
            if not _has_keypoints_without_score(error):
                raise
            logger.warning(
                f"the scores of keypoints are NaN in the first images of {name}, as a head gives before it is "
                "trained; Detectron2 cannot place them: the evaluators are not tried on a prediction"
            )
            continue
        if inputs is None:
            continue
        for evaluator in evaluators:
            with one_line_evaluator(f"evaluator {type(evaluator).__name__} of {name}", is_shipped(type(evaluator))):
                missing = _missing(evaluator, inputs, outputs)
                if missing:
                    raise UserError(missing)
                if _judges_fields_of_none(evaluator, outputs):
                    logger.warning(
                        f"nothing was found in the first images of {name}: masks and keypoints are not tried"
                    )
                evaluator.reset()
                if comm.is_main_process():
                    evaluator.process(inputs, outputs)
                evaluator.reset()


def leave_out_missing(teacher: nn.Module, sets: Sequence[EvaluationSet]) -> list[EvaluationSet]:
    """Return the test sets with the evaluators and tasks whose input a teacher predicts; log the others.

    A teacher may have another task than the student: a Mask R-CNN can teach a PanopticFPN.

    Raises:
        UserError: if the teacher cannot predict the first image of a set.
    """
    kept = []
    for name, loader, evaluators in sets:
        inputs, outputs = _first_prediction(teacher, name, loader)
        served = []
        for evaluator in evaluators:
            missing = _missing(evaluator, inputs, outputs)
            if missing:
                logger.warning(f"the teacher is not judged by {type(evaluator).__name__} in full: {missing}")
            if not missing or _keep_served_tasks(evaluator, outputs[0]):
                served.append(evaluator)
        kept.append(EvaluationSet(name, loader, served))
    return kept


def _keep_served_tasks(evaluator: DatasetEvaluator, output: dict[str, Any]) -> bool:
    """Drop the tasks of a COCOEvaluator that the output does not serve; return whether tasks are left."""
    if not isinstance(evaluator, COCOEvaluator) or "instances" not in output:
        return False
    evaluator._tasks = tuple(task for task in evaluator._tasks or () if _serves(output, task))
    return bool(evaluator._tasks)


def _serves(output: dict[str, Any], task: str) -> bool:
    """Return whether an output has the fields of a task; one without any instance need not have them."""
    instances = output["instances"]
    return task not in TASK_FIELDS or len(instances) == 0 or instances.has(TASK_FIELDS[task])


def _first_prediction(model: nn.Module, name: str, loader: Any) -> tuple[Any, Any]:
    """Return an image of a test set, or its first batch, and the prediction; None twice for an empty loader.

    The image is the first of `TRIED` in which the model finds an instance, else the last of them.
    """
    what = f"the first prediction on {name or 'the test data'}"
    with explained_errors(what), torch.random.fork_rng(), inference_context(model), torch.no_grad():
        if not getattr(loader, "records", ()):
            inputs = next(iter(loader), None)
            return inputs, None if inputs is None else model(inputs)
        for index in range(min(TRIED, len(loader.dataset))):
            inputs = [loader.dataset[index]]
            outputs = model(inputs)
            if not _finds_nothing(outputs):
                break
        return inputs, outputs


def _has_keypoints_without_score(error: Exception) -> bool:
    """Return whether Detectron2's `heatmaps_to_keypoints` failed, which asserts that no score is NaN."""
    cause = error.__cause__
    return (
        isinstance(cause, AssertionError)
        and traceback.extract_tb(cause.__traceback__)[-1].name == heatmaps_to_keypoints.__name__
    )


def _judges_fields_of_none(evaluator: DatasetEvaluator, outputs: Any) -> bool:
    """Return whether masks or keypoints are judged, and the outputs have no instance that could have them."""
    judged = isinstance(evaluator, COCOEvaluator) and any(task in TASK_FIELDS for task in evaluator._tasks or ())
    return judged and _finds_nothing(outputs)


def _finds_nothing(outputs: Any) -> bool:
    """Return whether the first output has instances, and these are none."""
    first = outputs[0] if isinstance(outputs, list) and outputs else None
    return isinstance(first, dict) and "instances" in first and len(first["instances"]) == 0


def _missing(evaluator: DatasetEvaluator, inputs: Any, outputs: Any) -> str:
    """Return what the outputs lack that the evaluator reads; "" if nothing is known to be missing."""
    entry = READS.get(type(evaluator))
    if not isinstance(inputs, list) or not (entry or isinstance(evaluator, COCOEvaluator)):
        return ""
    output = outputs[0]
    if entry and entry not in output:
        return f"the model predicts no '{entry}'"
    if isinstance(evaluator, COCOEvaluator) and "instances" in output:
        for task in evaluator._tasks or ():
            if not _serves(output, task):
                return f"tasks has '{task}', but the model predicts no {TASK_FIELDS[task]}"
    return ""
