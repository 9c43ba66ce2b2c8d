"""Nothing grows while it trains, and nothing is left when it ends."""

import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest
from detectron2.engine import TrainerBase, hooks
from harness import REPO, command, finish, start, started_from

from diffkd_d2.engine.evaluation import EvalHook
from diffkd_d2.engine.resume import MetricsHook

COUNTS = ("open_files", "threads", "processes", "module_hooks", "tensors")


def train_and_measure(iterations: int, datasets: Path, out: Path) -> dict:
    words = [sys.executable, str(REPO / "tests/helpers/leaks.py"), str(out), str(iterations)]
    finish(words, datasets, out.with_suffix(".log"), timeout=2700)
    report = json.loads((out / "leaks.json").read_text())
    print(report["slopes_per_1000_iterations"])
    # The least of a quarter: a batch on its way from a worker holds files and tensors for a moment.
    quarter = len(report["rows"]) // 4
    third, fourth = report["rows"][-2 * quarter : -quarter], report["rows"][-quarter:]
    growth = {k: min(row[k] for row in fourth) - min(row[k] for row in third) for k in COUNTS}
    assert all(x <= 0 for x in growth.values()), growth
    return report["slopes_per_1000_iterations"]


@pytest.mark.slow
def test_resource_counts_do_not_grow(tiny_datasets, tmp_path):
    train_and_measure(80, tiny_datasets, tmp_path / "out")


class Loop(TrainerBase):
    def run_step(self):
        self.storage.put_scalar("loss", self.iter)


def test_the_storage_is_bounded(tmp_path):
    loop = Loop()
    metrics_hook = MetricsHook(str(tmp_path), [], EvalHook(0, dict, tmp_path), hooks.PeriodicWriter([]))
    loop.register_hooks([metrics_hook])
    loop.train(0, 1500)
    history = loop.storage.history("loss")
    assert len(history.values()) == 1000 and history.median(20) == 1489.5 and history.global_avg() == 749.5


@pytest.mark.faults
def test_nothing_grows_over_2000_iterations(small_datasets, tmp_path):
    slopes = train_and_measure(2000, small_datasets, tmp_path / "out")
    assert slopes["memory_mb"] < 5  # of about 900; an image or feature kept per iteration would be 50 and more


@pytest.fixture
def interruptible():
    """Have children hear SIGINT, also where the tests run in the background of a shell, which ignores it for them."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.slow
@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_all_processes_are_gone_after_a_signal(tiny_datasets, tmp_path, number):
    log, out = tmp_path / "run.log", tmp_path / "out"
    log.touch()
    process = start(command(out, "train.max_iter=500"), tiny_datasets, log)
    deadline = time.monotonic() + 200
    while not (out / "metrics.json").exists() or not (out / "metrics.json").stat().st_size:
        assert time.monotonic() < deadline and process.poll() is None, log.read_text()[-3000:]
        time.sleep(0.1)
    assert started_from(log) == [0] and len(members(process.pid)) == 3  # the run and its two workers
    os.killpg(process.pid, number)  # as a terminal and a scheduler do
    assert process.wait(timeout=60) == {signal.SIGINT: 1, signal.SIGTERM: 143}[number], log.read_text()[-3000:]
    deadline = time.monotonic() + 20
    while members(process.pid):
        assert time.monotonic() < deadline, members(process.pid)
        time.sleep(0.1)
    if number == signal.SIGTERM:
        last = max(out.glob("model_*.pth"))
        assert (out / "last_checkpoint").read_text() == last.name
        assert f"SIGTERM: checkpoint {last.name} is written" in log.read_text()


def members(group: int) -> list[int]:
    """Return the processes of a group that still run."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found
