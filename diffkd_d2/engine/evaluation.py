"""Evaluate models; keep the results with their iteration, so that a resumed run knows what was evaluated."""

import json
import logging
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from detectron2.engine import hooks
from detectron2.evaluation import inference_on_dataset, print_csv_format
from detectron2.evaluation.testing import flatten_results_dict
from detectron2.utils import comm
from omegaconf import DictConfig, OmegaConf
from torch import nn

from ..checkpoint.files import write_json
from ..errors import UserError
from .evaluators import EvaluationSet, build_test_sets
from .outputs import leave_out_missing

logger = logging.getLogger(__name__)


def evaluate(model: nn.Module, sets: Sequence[EvaluationSet]) -> dict[str, Any]:
    """Evaluate a plain Detectron2 model.

    Returns:
        Detectron2's dict of results, task -> metric -> number; with several test sets, name -> this dict. Empty outside
        the main process, and without test sets.
    """
    results = {}
    for name, loader, evaluators in sets:
        results[name] = inference_on_dataset(model, loader, list(evaluators)) if evaluators else {}
        if comm.is_main_process():
            logger.info(f"results{f' on {name}' if name else ''}:")
            print_csv_format(results[name])
    return results[sets[0].name] if len(sets) == 1 else results


def evaluate_with_average(
    student: nn.Module, sets: Sequence[EvaluationSet], average: nn.Module | None = None
) -> dict[str, Any]:
    """Evaluate the student and, if there is one, the average of its weights, whose results end in `_ema`."""
    results = evaluate(student, sets)
    if average is not None:
        results |= {f"{task}_ema": values for task, values in evaluate(average, sets).items()}
    return results


def build_teacher_sets(cfg: DictConfig, teacher: nn.Module) -> list[EvaluationSet]:
    """Return the test sets of the config, with images in the teacher's channel order.

    Evaluators of what the teacher does not predict are left out.

    Raises:
        UserError: as `build_test_sets` and `leave_out_missing`.
    """
    tests = cfg.dataloader.get("test") or []
    nodes = [tests] if isinstance(tests, DictConfig) else list(tests)
    read = [(node, OmegaConf.select(node, "mapper.image_format")) for node in nodes]
    read = [(node, image_format) for node, image_format in read if image_format]
    for node, image_format in read:
        node.mapper.image_format = getattr(teacher, "input_format", None) or image_format
    try:
        return leave_out_missing(teacher, build_test_sets(cfg, teacher))
    finally:
        for node, image_format in read:
            node.mapper.image_format = image_format


def require_test_sets(sets: list[EvaluationSet]) -> list[EvaluationSet]:
    """Return the test sets of an evaluation.

    Raises:
        UserError: if there is none, or no evaluator is left.
    """
    if not sets:
        raise UserError("nothing to evaluate: the config has no test set or no evaluator")
    if not any(test_set.evaluators for test_set in sets):
        raise UserError("nothing to evaluate: the model predicts nothing that dataloader.evaluator reads")
    return sets


def write_results(path: Path, results: dict[str, Any]) -> None:
    """Write results as JSON, completely or not at all; NaN, from a metric without objects, becomes null."""
    if comm.is_main_process():
        write_json(path, _without_nan(results))


def _without_nan(results: Any) -> Any:
    if isinstance(results, dict):
        return {name: _without_nan(value) for name, value in results.items()}
    return None if math.isnan(results) else float(results)


class EvalHook(hooks.EvalHook):
    """Detectron2's EvalHook, which also keeps the latest results with their iteration in `evaluation.json`.

    A checkpoint is written before the evaluation of its iteration. The file tells a resumed run whether that
    evaluation was done. `results` are the latest results of this process, empty before the first evaluation.

    Args:
        period: iterations between two evaluations; 0 evaluates only at the end.
        evaluate: returns Detectron2's nested dict of results, empty outside the main process.
        output_dir: folder of the file.
    """

    def __init__(self, period: int, evaluate: Callable[[], dict[str, Any]], output_dir: str | Path):
        super().__init__(period, self._evaluate_and_keep)
        self.evaluate, self.path = evaluate, Path(output_dir) / "evaluation.json"
        self.results: dict[str, Any] = {}

    def before_train(self) -> None:
        """Remove the file of an earlier run."""
        if self.trainer.start_iter == 0 and comm.is_main_process():
            self.path.unlink(missing_ok=True)

    def finish_iteration(self) -> None:
        """Use the results of this iteration if the file has them; otherwise evaluate if it is due."""
        kept: dict[str, Any] = {}
        if comm.is_main_process() and self.path.exists():
            kept = json.loads(self.path.read_text())
        kept = comm.all_gather(kept)[0]
        if kept.get("iteration") == self.trainer.iter:
            self.trainer.storage.put_scalars(**kept["results"], smoothing_hint=False)
        else:
            self.after_step()

    def _evaluate_and_keep(self) -> dict[str, Any]:
        self.results = self.evaluate()
        if comm.is_main_process():
            kept = {k: float(v) for k, v in flatten_results_dict(self.results).items()}
            write_json(self.path, {"iteration": self.trainer.iter, "results": kept})
        return self.results
