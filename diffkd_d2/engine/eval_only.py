"""What `--eval-only` and `--eval-teacher` do."""

from pathlib import Path

from omegaconf import DictConfig

from ..checkpoint.checkpointer import Checkpointer
from ..errors import UserError
from ..modeling.teacher import require_loaded
from .build import build
from .class_lists import check_class_lists
from .evaluation import build_teacher_sets, evaluate, require_test_sets, write_results
from .evaluators import build_test_sets, loaders_by_name
from .outputs import try_outputs
from .weights import load_for_evaluation


def evaluate_checkpoint(cfg: DictConfig, resume: bool = False) -> None:
    """Evaluate the student from `train.init_checkpoint`; write `results.json`.

    If it is empty, or with `resume`, the student is that of the output folder's last checkpoint.

    Raises:
        UserError: if there is no checkpoint or test set, the checkpoint does not fit, the class lists differ, or the
            student does not predict what an evaluator reads.
    """
    student = build(cfg.model.student, "model.student").to(cfg.train.device)
    test_sets = require_test_sets(build_test_sets(cfg, student))
    classes = check_class_lists(loaders_by_name(test_sets), student)
    checkpointer = Checkpointer(student, cfg.train.output_dir, classes=classes)
    load_for_evaluation(checkpointer, "" if resume else cfg.train.init_checkpoint, cfg.train.expected_missing)
    try_outputs(student, test_sets)
    write_results(Path(cfg.train.output_dir) / "results.json", evaluate(student, test_sets))


def evaluate_teachers(cfg: DictConfig) -> None:
    """Evaluate each teacher on the student's test data; write `results_teacher.json`, `results_teacher1.json`, ...

    Raises:
        UserError: if the config has no teacher, or no test set, or the teacher has other classes.
    """
    nodes = cfg.model.get("teacher") or []
    if not nodes:
        raise UserError("the config has no teacher to evaluate: model.teacher is empty")
    for i, node in enumerate([nodes] if isinstance(nodes, DictConfig) else nodes):
        teacher = build(node, "model.teacher").to(cfg.train.device)
        require_loaded([teacher])
        sets = require_test_sets(build_teacher_sets(cfg, teacher))
        check_class_lists(loaders_by_name(sets), teacher).load_state_dict(getattr(teacher, "class_names", None))
        write_results(Path(cfg.train.output_dir) / f"results_teacher{i or ''}.json", evaluate(teacher, sets))
