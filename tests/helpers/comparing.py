"""Calls compare.py on a small `shapes`, with runs of a few iterations."""

import os
from collections.abc import Sequence
from pathlib import Path

from quick_start import Program, run_program, start_program

REPO = Path(__file__).resolve().parents[2]
CONFIG = "configs/shapes/diffkd_retinanet_r18.py"
TINY = [
    *("train.max_iter=6", "train.eval_period=0", "train.log_period=1", "train.checkpointer.period=2"),
    *("dataloader.train.total_batch_size=2", "dataloader.train.num_workers=0", "dataloader.test.num_workers=0"),
]
DIFFKD = "diffkd="  # the config as it is
# DiffKD at work, but without weight: its student must be the student alone.
WEIGHTLESS = "weightless=" + " ".join(f"model.points.{i}.weight=0" for i in range(3))


class Compare:
    """Starts compare.py; `environment` is that of all its processes."""

    def __init__(self, datasets: Path):
        self.environment = dict(os.environ, DETECTRON2_DATASETS=str(datasets), OMP_NUM_THREADS="1")

    def words(self, output: Path, *more: str, arms: Sequence[str] = (DIFFKD, WEIGHTLESS)) -> list[str]:
        """Return the command line of a comparison of these arms and the student alone, two seeds each."""
        script = ["tests/helpers/forked_compare.py", "--config-file", CONFIG, "--output", str(output)]
        chosen = [word for arm in arms for word in ("--arm", arm)]
        return [*script, "--seeds", "1,2", "--methods", "alone", *chosen, *more, *TINY]

    def start(self, words: list[str], log: Path) -> Program:
        """Start a command, whose output is appended to `log`; return its process."""
        return start_program(words, self.environment, log)

    def finish(self, words: list[str], code: int = 0) -> str:
        """Run a command to its end, which must have this exit code; return what it printed."""
        run = run_program(words, self.environment, timeout=1800)
        assert run.returncode == code, run.stdout + run.stderr
        return run.stdout + run.stderr
