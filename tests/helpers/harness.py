"""Starts training processes as a user does, kills them, and compares what they leave."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from quick_start import Program, start_program

REPO = Path(__file__).resolve().parents[2]
STARTED = re.compile(r"Starting training from iteration (\d+)")
SAVING = "Saving checkpoint to"
# What the clock decides is not compared.
CLOCK = ("time", "eta_seconds", "data_time", "rank_data_time")
TINY = [
    "train.seed=7",
    "train.log_period=3",
    "train.checkpointer.period=4",
    "train.checkpointer.max_to_keep=3",
    "dataloader.train.total_batch_size=2",
    "dataloader.train.num_workers=2",
    "dataloader.test.num_workers=0",
]


@dataclass
class Killed:
    """How one process ended: the last checkpoint it left, and whether it was killed while it wrote one."""

    checkpoint: int
    writing: bool


def command(out: Path, *overrides: str, config: str = "configs/shapes/diffkd_retinanet_r18.py") -> list[str]:
    """Return the command line of a tiny run."""
    script = [sys.executable, str(REPO / "train_net.py"), "--config-file", config]
    return [*script, f"train.output_dir={out}", *TINY, *overrides]


def environment(datasets: Path) -> dict[str, str]:
    """Return the environment of a run: one thread, this repository first."""
    path = os.pathsep.join([str(REPO), str(REPO / "tests/helpers"), *filter(None, [os.environ.get("PYTHONPATH")])])
    return dict(os.environ, DETECTRON2_DATASETS=str(datasets), OMP_NUM_THREADS="1", PYTHONPATH=path)


def start(words: Sequence[str], datasets: Path, log: Path) -> subprocess.Popen:
    """Start a run in a session of its own; its output is appended to `log`."""
    with open(log, "a") as file:
        return subprocess.Popen(
            words, cwd=REPO, env=environment(datasets), stdout=file, stderr=subprocess.STDOUT, start_new_session=True
        )


def start_quickly(words: Sequence[str], datasets: Path, log: Path) -> Program:
    """Start a run of a script like `start`, but without importing torch anew: see `quick_start.py`."""
    return start_program(list(words[1:]), environment(datasets), log)


def finish(words: Sequence[str], datasets: Path, log: Path, timeout: int = 900) -> None:
    """Run to the end, which has to be a good one."""
    is_script = words[0] == sys.executable and words[1].endswith(".py")
    process = (start_quickly if is_script else start)(words, datasets, log)
    try:
        code = process.wait(timeout=timeout)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert code == 0, log.read_text()[-3000:]


def kill_in_training(process: Program, out: Path, log: Path, checkpoints: int, delay: float | None) -> Killed | None:
    """SIGKILL the run some seconds after it began to write its n-th checkpoint.

    `delay` None: while it writes the last of these. Returns None where the run ended before.
    """
    starts, saves, moment = len(started_from(log)), log.read_text().count(SAVING), None
    while process.poll() is None:
        if moment is None:
            text = log.read_text()
            begun = len(STARTED.findall(text)) > starts and text.count(SAVING) >= saves + checkpoints
            moment = time.monotonic() if begun else None
        elif delay is None and any(out.glob("*.partial")):
            break
        elif delay is not None and time.monotonic() >= moment + delay:
            break
        time.sleep(0.005 if moment is None else 0.001)
    if process.poll() is not None:
        return None
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    return Killed(last_checkpoint(out), any(out.glob("*.partial")))


def started_from(log: Path) -> list[int]:
    """Return the first iterations of all runs in a log."""
    return [int(x) for x in STARTED.findall(log.read_text())]


def last_checkpoint(out: Path) -> int:
    """Return the iteration of the checkpoint that the pointer names, -1 without one."""
    pointer = out / "last_checkpoint"
    if not pointer.exists():
        return -1
    name = pointer.read_text().removesuffix(".pth").removeprefix("model_")
    return int(name) if name.isdigit() else sys.maxsize


def read_metrics(out: Path) -> list[dict[str, Any]]:
    """Return the lines of `metrics.json` without what the clock decides."""
    lines = [json.loads(line) for line in (out / "metrics.json").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in CLOCK} for line in lines]


def differences(a: Path, b: Path) -> list[str]:
    """Return what differs between the outcomes of two runs: tensors bit for bit, metrics, results."""
    found: list[str] = []
    files = [torch.load(x / "model_final.pth", weights_only=True) for x in (a, b)]
    for part in ("model", "distillers"):
        if list(files[0][part]) != list(files[1][part]):
            found.append(f"keys of {part}")
        found += [k for k, v in files[0][part].items() if not same_bits(v, files[1][part][k])]
    states = [file["trainer"]["optimizer"]["state"] for file in files]
    for i, state in states[0].items():
        found += [f"optimizer {i} {k}" for k, v in state.items() if not same_bits(v, states[1][i][k])]
    for line, other in zip(read_metrics(a), read_metrics(b), strict=False):
        if str(line) != str(other):  # as text: NaN equals NaN
            keys = [k for k in line.keys() | other.keys() if str(line.get(k)) != str(other.get(k))]
            found.append(f"metrics of iteration {line['iteration']}: {keys}")
    if len(read_metrics(a)) != len(read_metrics(b)):
        found.append("number of lines in metrics.json")
    if (a / "results.json").read_text() != (b / "results.json").read_text():
        found.append("results.json")
    return found


def same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether two tensors agree in type, shape and every bit."""
    return a.dtype == b.dtype and a.shape == b.shape and a.numpy().tobytes() == b.numpy().tobytes()
