"""Every family resumes bit for bit where its checkpoint's iteration is also an evaluated and a written one."""

import importlib.util
import json
import os
import signal
import time
from pathlib import Path

import pytest
from families import ALONE, CLASSIFIERS, DETECTORS, QUICK, random_teacher
from harness import command, differences, finish, start_quickly, started_from
from quick_start import Program

from diffkd_d2.engine.config import load_config

EVERY = 2  # iterations between two checkpoints, evaluations and lines alike
SHORT = [f"train.checkpointer.period={EVERY}", f"train.eval_period={EVERY}", f"train.log_period={EVERY}"]
# A learning rate that does not depend on the length, so that a run may be extended.
CONSTANT = {
    "CosineParamScheduler": ["lr_multiplier.scheduler.end_value=1.0"],
    "PolynomialDecayParamScheduler": ["lr_multiplier.scheduler.power=0.0"],
}


def families() -> list:
    """Return all families; those that are not quick are left to `make test-faults`."""
    names = [*ALONE, *DETECTORS, *CLASSIFIERS]
    marks = {name: pytest.mark.slow if name in QUICK else pytest.mark.faults for name in names}
    return [pytest.param(name, marks=mark, id=name.split("/")[-1]) for name, mark in marks.items()]


@pytest.mark.parametrize("name", families())
def test_two_kills_and_an_extension(name, tiny_datasets, tmp_path):
    if name.endswith("vitdet") and importlib.util.find_spec("detectron2.modeling.backbone.vit") is None:
        pytest.skip("Detectron2 v0.6 has no ViTDet")
    options = [*SHORT, *constant_rate(name), *random_teacher(name, tmp_path / "teacher.pth")]
    config = f"{name}.py"
    whole, broken, log = tmp_path / "whole", tmp_path / "broken", tmp_path / "broken.log"
    finish(command(whole, *options, "train.max_iter=8", config=config), tiny_datasets, tmp_path / "whole.log")

    words = command(broken, *options, "train.max_iter=6", "--resume", config=config)
    for iteration in (1, 3):
        kill_behind_line(start_quickly(words, tiny_datasets, log), broken, log, iteration)
    finish(words, tiny_datasets, log)
    assert (broken / "model_final.pth").exists() and not (broken / "model_0000006.pth").exists()
    finish([*words, "train.max_iter=8"], tiny_datasets, log)

    assert started_from(log) == [0, 2, 4, 6]
    assert differences(whole, broken) == []
    assert [line["iteration"] for line in lines(broken) if "lr" in line] == [1, 3, 5, 7]


def constant_rate(name: str) -> list[str]:
    """Return overrides that hold the learning rate of a config."""
    schedule = load_config(f"{name}.py", []).lr_multiplier.scheduler
    target = schedule._target_ if isinstance(schedule._target_, str) else schedule._target_.__name__
    return CONSTANT[target.rsplit(".", 1)[-1]]


def kill_behind_line(process: Program, out: Path, log: Path, iteration: int, timeout: float = 600) -> None:
    """SIGKILL the run and its workers once `metrics.json` has the line of a checkpoint's iteration."""
    deadline = time.monotonic() + timeout
    while process.poll() is None and time.monotonic() < deadline:
        if iteration in [line["iteration"] for line in lines(out)]:
            break
        time.sleep(0.005)
    assert process.poll() is None, log.read_text()[-3000:]
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert (out / f"model_{iteration:07d}.pth").exists()


def lines(out: Path) -> list[dict]:
    """Return the whole lines of `metrics.json` so far."""
    path = out / "metrics.json"
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
