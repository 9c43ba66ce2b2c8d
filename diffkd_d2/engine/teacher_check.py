"""Evaluate the teacher on a few images before training, and compare the student with it at the end."""

import inspect
import json
import logging
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from detectron2.evaluation import (
    COCOPanopticEvaluator,
    DatasetEvaluator,
    DatasetEvaluators,
    LVISEvaluator,
    PascalVOCDetectionEvaluator,
    RotatedCOCOEvaluator,
    inference_on_dataset,
)
from detectron2.evaluation.cityscapes_evaluation import CityscapesEvaluator
from detectron2.utils import comm
from omegaconf import DictConfig
from torch import nn

from ..errors import UserError
from .class_lists import check_class_lists
from .evaluation import build_teacher_sets, write_results
from .evaluators import EvaluationSet, is_shipped, loaders_by_name

logger = logging.getLogger(__name__)

# Detectron2's evaluators that count each image of the dataset, also one that was not processed.
WHOLE = (
    CityscapesEvaluator,
    COCOPanopticEvaluator,
    LVISEvaluator,
    PascalVOCDetectionEvaluator,
    RotatedCOCOEvaluator,
)
MAIN_METRICS = ("AP", "mIoU", "PQ", "top1")  # of Detectron2's evaluators and TopKEvaluator, in percent
FULL, SAMPLE = "results_teacher.json", "results_teacher_check.json"


def check_teachers(cfg: DictConfig, teachers: Sequence[nn.Module], writes: bool = True) -> None:
    """Evaluate the teachers on `distill.teacher_check` images of each test set; warn if results are near chance.

    The first teacher's results are written to the output folder for `report_teacher_reached`, if `writes`.

    Raises:
        UserError: if a teacher has other classes than the test data.
    """
    for i, teacher in enumerate(teachers):
        sets = build_teacher_sets(cfg, teacher)
        try:
            check_class_lists(loaders_by_name(sets), teacher).load_state_dict(getattr(teacher, "class_names", None))
        except UserError as error:
            raise UserError(f"distill.teacher_check must be 0 for a teacher of other classes: {error}") from error
        found = {test_set.name: evaluate_sample(teacher, test_set, cfg.distill.teacher_check) for test_set in sets}
        results = found if len(found) > 1 else next(iter(found.values()), {})
        if i == 0 and writes:
            write_results(Path(cfg.train.output_dir) / SAMPLE, results)
        if comm.is_main_process():
            report_teacher(results, getattr(teacher, "num_classes", None))


def evaluate_sample(model: nn.Module, test_set: EvaluationSet, count: int) -> dict[str, Any]:
    """Evaluate a model on the first `count` images of a test set; return Detectron2's dict of results.

    Evaluators that always compare with the whole dataset (`WHOLE`) are left out, with a warning.
    """
    evaluators = [part for e in test_set.evaluators for part in getattr(e, "_evaluators", [e])]
    parts = [SampleEvaluator(e) for e in evaluators if not isinstance(e, WHOLE)]
    left_out = sorted({type(e).__name__ for e in evaluators if isinstance(e, WHOLE)})
    if left_out:
        logger.warning(
            f"distill.teacher_check: {', '.join(left_out)} cannot judge a part of the images: try --eval-teacher"
        )
    if not parts:
        return {}
    share = -(-count // comm.get_world_size())
    return inference_on_dataset(model, FirstImages(test_set.loader, share), DatasetEvaluators(parts))


class FirstImages:
    """The first batches of a loader, up to about `count` images."""

    def __init__(self, loader: Any, count: int):
        size = getattr(getattr(loader, "loader", loader), "batch_size", None) or 1
        self.loader, self.batches = loader, min(-(-count // size), len(loader))

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[Any]:
        return islice(iter(self.loader), self.batches)


class SampleEvaluator(DatasetEvaluator):
    """Make COCOEvaluator judge only the processed images; SemSegEvaluator and TopKEvaluator do so already.

    Detectron2's evaluators write no predictions, which would replace the student's.
    """

    def __init__(self, evaluator: DatasetEvaluator):
        self.evaluator: Any = evaluator
        if hasattr(evaluator, "_output_dir") and is_shipped(type(evaluator)):
            self.evaluator._output_dir = None
        self.seen: list[int | str] = []

    def reset(self) -> None:
        """Forget the images."""
        self.seen = []
        self.evaluator.reset()

    def process(self, inputs: Any, outputs: Any) -> None:
        """Process the batch and record its image ids."""
        self.seen += [x["image_id"] for x in inputs if "image_id" in x] if isinstance(inputs, list) else []
        self.evaluator.process(inputs, outputs)

    def evaluate(self) -> Any:
        """Evaluate on the processed images of all processes."""
        if "img_ids" not in inspect.signature(self.evaluator.evaluate).parameters:
            return self.evaluator.evaluate()
        return self.evaluator.evaluate(img_ids=sorted(sum(comm.all_gather(self.seen), [])))


def report_teacher(results: dict[str, Any], num_classes: int | None) -> None:
    """Log the teacher's main metrics; warn if they are near zero or chance.

    Args:
        results: Detectron2's dict of results.
        num_classes: number of classes of a classifier, whose top-1 is compared with twice chance.
    """
    for task, (name, value) in main_metrics(results).items():
        least = 200 / num_classes if name == "top1" and num_classes else 1.0
        line = f"distill.teacher_check: the teacher has {task} {name} {value:.2f}"
        if not value >= least:  # NaN: no prediction at all
            logger.warning(
                f"{'!' * 20} {line}, less than {least:g}: IT HAS NOTHING TO TEACH. Right weights? Right data?"
            )
        else:
            logger.info(line)


def report_teacher_reached(results: dict[str, Any], output_dir: Path) -> None:
    """Warn if a main metric of the student has reached the teacher's.

    The teacher's results are those of `--eval-teacher` or `distill.teacher_check` in this output folder; if there are
    none, nothing is logged.
    """
    path = next((output_dir / name for name in (FULL, SAMPLE) if (output_dir / name).exists()), None)
    if path is None:
        return
    teacher = main_metrics(json.loads(path.read_text()))
    for task, (name, value) in main_metrics(results).items():
        if task in teacher and value >= teacher[task][1]:
            logger.warning(
                f"the student has reached its teacher: {task} {name} {value:.2f}, the teacher's {teacher[task][1]:.2f} "
                f"({path.name}). A teacher that is hardly better has little to teach"
            )


def main_metrics(results: dict[str, Any]) -> dict[str, tuple[str, float]]:
    """Return task -> (name, value in percent) of the main metric, for each task that has one."""
    found: dict[str, tuple[str, float]] = {}
    for task, values in results.items():
        if isinstance(values, dict) and any(isinstance(value, dict) for value in values.values()):  # of a test set
            found |= {f"{task} {inner}": metric for inner, metric in main_metrics(values).items()}
            continue
        name = next((n for n in MAIN_METRICS if isinstance(values, dict) and values.get(n) is not None), None)
        if name is not None:
            found[task] = (name, float(values[name]))
    return found
