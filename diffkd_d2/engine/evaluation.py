"""Evaluate models, and keep the results with their iteration, so that a resumed run knows what was evaluated."""

import json
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from detectron2.engine import hooks
from detectron2.evaluation import inference_on_dataset, print_csv_format
from detectron2.evaluation.testing import flatten_results_dict
from detectron2.utils import comm
from omegaconf import DictConfig, OmegaConf
from torch import nn

from ..errors import UserError
from ..modeling.teacher import require_loaded
from .build import build
from .loaders import build_loader, check_classes, check_image_format


def build_test_loader(cfg: DictConfig, model: nn.Module) -> Iterable[Any]:
    """Return the loader of the config's test data.

    Args:
        cfg: the run's config.
        model: what will be evaluated on it.

    Raises:
        UserError: if the data is not there, or does not fit the model.
    """
    check_image_format(cfg.dataloader.test, model)
    loader = build_loader(cfg.dataloader.test)
    check_classes(loader, model)
    return loader


def build_teacher_loader(cfg: DictConfig, teacher: nn.Module) -> Iterable[Any]:
    """Return the loader of the config's test data, with images in the teacher's channel order.

    Raises:
        UserError: as `build_test_loader`.
    """
    read = OmegaConf.select(cfg.dataloader.test, "mapper.image_format")
    if not read:
        return build_test_loader(cfg, teacher)
    mapper = cfg.dataloader.test.mapper
    mapper.image_format = getattr(teacher, "input_format", None) or read
    try:
        return build_test_loader(cfg, teacher)
    finally:
        mapper.image_format = read


def evaluate(cfg: DictConfig, model: nn.Module, loader: Iterable[Any]) -> dict[str, Any]:
    """Evaluate a plain Detectron2 model; return Detectron2's dict of results, empty outside the main process."""
    results = inference_on_dataset(model, loader, build(cfg.dataloader.evaluator, "dataloader.evaluator"))
    if comm.is_main_process():
        print_csv_format(results)
    return results


def evaluate_teachers(cfg: DictConfig) -> None:
    """Evaluate each teacher on the student's test data; write `results_teacher.json`, `results_teacher1.json`, ...

    Raises:
        UserError: if the config has no teacher.
    """
    nodes = cfg.model.get("teacher") or []
    if not nodes:
        raise UserError("the config has no teacher to evaluate: model.teacher is empty")
    for i, node in enumerate([nodes] if isinstance(nodes, DictConfig) else nodes):
        teacher = build(node, "model.teacher").to(cfg.train.device)
        require_loaded([teacher])
        results = evaluate(cfg, teacher, build_teacher_loader(cfg, teacher))
        write_results(Path(cfg.train.output_dir) / f"results_teacher{i or ''}.json", results)


def write_results(path: Path, results: dict[str, Any]) -> None:
    """Write results as JSON, whole or not at all; a metric without any object to measure (NaN) is null."""
    if comm.is_main_process():
        partial = path.with_suffix(".tmp")
        partial.write_text(json.dumps(_without_nan(results), indent=2) + "\n")
        partial.replace(path)


def _without_nan(results: Any) -> Any:
    if isinstance(results, dict):
        return {name: _without_nan(value) for name, value in results.items()}
    return None if math.isnan(results) else float(results)


class EvalHook(hooks.EvalHook):
    """Detectron2's EvalHook, which also keeps the latest results with their iteration in `evaluation.json`.

    A checkpoint is written before the evaluation of its iteration. The file tells a resumed run whether that
    evaluation was done.

    Args:
        period: iterations between two evaluations; 0 evaluates only at the end.
        evaluate: returns Detectron2's nested dict of results, empty outside the main process.
        output_dir: folder of the file.
    """

    def __init__(self, period: int, evaluate: Callable[[], dict[str, Any]], output_dir: str | Path):
        super().__init__(period, self._evaluate_and_keep)
        self.evaluate, self.path = evaluate, Path(output_dir) / "evaluation.json"

    def before_train(self) -> None:
        """Remove what another run left in the folder."""
        if self.trainer.start_iter == 0 and comm.is_main_process():
            self.path.unlink(missing_ok=True)

    def finish_iteration(self) -> None:
        """Take over the results of this iteration where they are kept; where not, evaluate if that is due."""
        kept: dict[str, Any] = {}
        if comm.is_main_process() and self.path.exists():
            kept = json.loads(self.path.read_text())
        kept = comm.all_gather(kept)[0]
        if kept.get("iteration") == self.trainer.iter:
            self.trainer.storage.put_scalars(**kept["results"], smoothing_hint=False)
        else:
            self.after_step()

    def _evaluate_and_keep(self) -> dict[str, Any]:
        results = self.evaluate()
        if comm.is_main_process():
            kept = {k: float(v) for k, v in flatten_results_dict(results).items()}
            partial = self.path.with_suffix(".tmp")
            partial.write_text(json.dumps({"iteration": self.trainer.iter, "results": kept}) + "\n")
            partial.replace(self.path)
        return results
