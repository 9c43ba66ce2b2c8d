"""Hooks that make a resumed run equal to the uninterrupted one: random numbers by position, the writers' state."""

import json
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from detectron2.engine import HookBase
from detectron2.modeling.meta_arch.dense_detector import DenseDetector
from detectron2.utils import comm
from detectron2.utils.env import seed_all_rng
from detectron2.utils.events import JSONWriter
from fvcore.common.history_buffer import HistoryBuffer
from torch import nn

from ..data.stream import derive_seed
from .evaluation import EvalHook

WINDOW = 20  # iterations over which Detectron2's writers smooth
LONGEST = 1000
CLOCK = {"time", "data_time", "eta_seconds", "rank_data_time"}


class PositionHook(HookBase):
    """Move the loader to the run's position, and seed each step by its iteration.

    Noise and time steps of the diffusion, sampled proposals and dropout are therefore functions of the seed, the
    iteration and the process, and no generator state has to be stored. The checkpoint holds the seed, so that a run
    with a random seed continues with it.

    Args:
        loader: a `PositionedLoader` or `TrainImageLoader`; one without `seed` and `start` starts from its beginning on
            resume.
        seed: seed of the run, the same in all processes.
        batches_per_step: number of batches per iteration.
    """

    def __init__(self, loader: Any, seed: int, batches_per_step: int = 1):
        self.loader, self.seed, self.batches_per_step = loader, seed, batches_per_step

    def before_train(self) -> None:
        """Set the loader to the first batch that this run has not seen."""
        if hasattr(self.loader, "start"):
            self.loader.seed = self.seed
            self.loader.start = self.trainer.start_iter * self.batches_per_step

    def before_step(self) -> None:
        """Seed Python's, numpy's and torch's generators."""
        seed_all_rng(derive_seed(self.seed, self.trainer.iter, comm.get_rank()))

    def state_dict(self) -> dict[str, int]:
        """Return the seed."""
        return {"seed": self.seed}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Use the seed of the resumed run."""
        self.seed = int(state["seed"])


class NormalizerHook(HookBase):
    """Keep the running number of foreground anchors by which Detectron2's dense detectors divide their losses.

    It is a plain attribute of the model, so no `state_dict` has it, and each process has its own.

    Args:
        model: the student.
    """

    def __init__(self, model: nn.Module):
        self.modules = {name: m for name, m in model.named_modules() if isinstance(m, DenseDetector)}
        self.values: list[dict[str, float]] = []

    def before_train(self) -> None:
        """Set the checkpoint's numbers of this process."""
        if self.values:
            for name, value in self.values[comm.get_rank() % len(self.values)].items():
                self.modules[name].loss_normalizer = value

    def after_step(self) -> None:
        """Collect the numbers of all processes. Register this hook before the checkpointer."""
        if self.modules:
            known = {name: m for name, m in self.modules.items() if hasattr(m, "loss_normalizer")}
            self.values = comm.all_gather({name: float(m.loss_normalizer) for name, m in known.items()})

    def state_dict(self) -> dict[str, Any]:
        """Return the numbers of all processes."""
        return {"values": self.values}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Store the numbers for `before_train`."""
        self.values = state["values"]


class MetricsHook(HookBase):
    """Store the writers' state in the checkpoint; on resume, restore it and cut later lines of `metrics.json`.

    Register this hook last. A checkpoint is written before the evaluation and the log lines of its iteration;
    `before_train` does those that the interrupted run had not done.

    Args:
        output_dir: folder of `metrics.json`.
        writers: writers of this process; empty outside the main process.
        eval_hook: the evaluation, which follows the checkpoint in an iteration.
        writer_hook: the hook that writes after it.
    """

    def __init__(self, output_dir: str, writers: Sequence[Any], eval_hook: EvalHook, writer_hook: HookBase):
        self.path = Path(output_dir) / "metrics.json"
        self.json_writer = next((w for w in writers if isinstance(w, JSONWriter)), None)
        self.eval_hook, self.writer_hook = eval_hook, writer_hook
        self._loaded: dict[str, Any] | None = None

    def state_dict(self) -> dict[str, Any]:
        """Return the latest value of each scalar, and the last `WINDOW` values of those that are smoothed."""
        if self.json_writer is None:
            return {}
        storage = self.trainer.storage
        names = storage.latest().keys() - CLOCK  # times are not restored
        return {
            "iteration": self.trainer.iter,
            "written": self.json_writer._last_write,
            "values": {k: [list(x) for x in storage.history(k).values()[-WINDOW:]] for k in names},
            "smoothed": [k for k in names if storage.smoothing_hints()[k]],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Store the state for `before_train`, when the event storage exists."""
        self._loaded = state

    def before_train(self) -> None:
        """Bound the event storage, restore it, and finish the checkpoint's iteration."""
        # By default it keeps a million values of each scalar; the writers read at most the last 1,000.
        self.trainer.storage.histories().default_factory = partial(HistoryBuffer, max_length=LONGEST)
        if self._loaded is None:
            if self.json_writer is not None:  # lines of an earlier run, or from before the first checkpoint
                cut_metrics(self.path, -1)
            return
        state, storage, start = self._loaded, self.trainer.storage, self.trainer.iter
        smoothed = {name for name in state["smoothed"] if name != "distill_scale"}  # 0.1.0 smoothed it
        for name, values in state["values"].items():
            for value, iteration in values:
                storage.iter = iteration
                storage.put_scalar(name, value, smoothing_hint=name in smoothed)
        self.trainer.iter = storage.iter = state["iteration"]
        if self.json_writer is not None:
            self.json_writer._last_write = state["written"]
            cut_metrics(self.path, state["written"])
        self.eval_hook.finish_iteration()
        self.writer_hook.after_step()
        self.trainer.iter = storage.iter = start
        self._loaded = None


def cut_metrics(path: Path, last: int) -> list[dict[str, Any]]:
    """Cut `metrics.json` after the iteration `last`, and return the complete lines that were cut off."""
    cut: list[dict[str, Any]] = []
    kept = 0
    if not path.exists():
        return cut
    for line in path.read_bytes().splitlines(keepends=True):
        try:
            scalars = json.loads(line)
        except ValueError:  # the process died while it wrote this line
            break
        if scalars["iteration"] > last:
            cut.append(scalars)
        elif not cut:
            kept += len(line)
    os.truncate(path, kept)
    return cut
