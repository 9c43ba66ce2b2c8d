"""A small comparison that the tests of compare.py and report.py read."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
CONFIG = "configs/shapes/diffkd_r18.py"
TINY = [
    *("train.max_iter=6", "train.eval_period=0", "train.log_period=1", "train.checkpointer.period=2"),
    *("dataloader.train.total_batch_size=2", "dataloader.train.num_workers=0", "dataloader.test.num_workers=0"),
]
WEIGHTLESS = "weightless=" + " ".join(f"model.points.{i}.weight=0" for i in range(3))


class Compare:
    """Calls compare.py on a small `shapes`."""

    def __init__(self, datasets: Path):
        self.environment = dict(os.environ, DETECTRON2_DATASETS=str(datasets), OMP_NUM_THREADS="1")

    def words(self, output: Path, *more: str, seeds: str = "1,2") -> list[str]:
        script = [sys.executable, "tools/compare.py", "--config-file", CONFIG, "--output", str(output)]
        return [*script, "--seeds", seeds, "--methods", "alone", "--arm", "diffkd=", "--arm", WEIGHTLESS, *more, *TINY]

    def start(self, words: list[str]) -> subprocess.Popen:
        pipe = subprocess.PIPE
        return subprocess.Popen(words, cwd=REPO, env=self.environment, stdout=pipe, stderr=pipe, text=True)

    def finish(self, words: list[str], code: int = 0) -> str:
        process = self.start(words)
        out, err = process.communicate(timeout=900)
        assert process.returncode == code, out + err
        return out + err


@pytest.fixture(scope="session")
def compare(small_datasets) -> Compare:
    """Return what calls compare.py."""
    return Compare(small_datasets)


@pytest.fixture(scope="session")
def comparison(compare, tmp_path_factory) -> Path:
    """Return the folder of a finished comparison: alone, DiffKD, and DiffKD with weights of zero, two seeds."""
    output = tmp_path_factory.mktemp("comparison") / "out"
    compare.finish(compare.words(output))
    return output
