"""Results are kept with their iteration; a resumed run takes them over, or evaluates what was due."""

import json

import pytest
from detectron2.engine import TrainerBase
from detectron2.utils.events import EventStorage

from diffkd_d2.engine.evaluation import EvalHook, write_results


class Loop(TrainerBase):
    """A trainer of 100 iterations that stands at one of them."""

    def __init__(self, iteration: int):
        super().__init__()
        self.iter, self.start_iter, self.max_iter = iteration, iteration, 100


def finish_iteration(folder, iteration: int, ap: float):
    """Finish an iteration in a new process; return how often it evaluated, and what the storage holds."""
    calls = []
    loop = Loop(iteration)
    hook = EvalHook(4, lambda: calls.append(1) or {"bbox": {"AP": ap, "AP-cross": float("nan")}}, folder)
    loop.register_hooks([hook])
    with EventStorage(iteration) as loop.storage:
        hook.finish_iteration()
    return len(calls), {name: value for name, (value, _) in loop.storage.latest().items()}


@pytest.mark.parametrize(("iteration", "due"), [(3, 1), (4, 0), (7, 1)])
def test_missed_evaluation_runs_on_resume(tmp_path, iteration, due):
    count, scalars = finish_iteration(tmp_path, iteration, 2.0)
    assert count == due and scalars.get("bbox/AP") == (2.0 if due else None)


def test_kept_results_are_used_for_their_iteration_only(tmp_path):
    finish_iteration(tmp_path, 3, 2.0)
    count, scalars = finish_iteration(tmp_path, 3, 9.0)
    assert count == 0 and scalars["bbox/AP"] == 2.0
    count, scalars = finish_iteration(tmp_path, 7, 9.0)
    assert count == 1 and scalars["bbox/AP"] == 9.0


def test_new_run_removes_old_results(tmp_path):
    finish_iteration(tmp_path, 3, 2.0)
    hook = EvalHook(4, dict, tmp_path)
    loop = Loop(0)
    loop.register_hooks([hook])
    hook.before_train()
    assert not hook.path.exists()


def test_nan_is_written_as_null(tmp_path):
    write_results(tmp_path / "results.json", {"bbox": {"AP": float("nan"), "AP-NaN": 1.0}})
    assert json.loads((tmp_path / "results.json").read_text()) == {"bbox": {"AP": None, "AP-NaN": 1.0}}
