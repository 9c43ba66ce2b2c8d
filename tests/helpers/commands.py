"""`train_net.py` as a user calls it, in a process of its own, and what it leaves."""

import json
import os
import subprocess
from pathlib import Path

from quick_start import run_program

REPO = Path(__file__).resolve().parents[2]
SMALL = ["train.eval_period=0", "train.log_period=1", "dataloader.train.num_workers=0", "dataloader.test.num_workers=0"]


def train_net(datasets, config, *arguments, launcher=()):
    """Run `train_net.py`, with `launcher` before it; `config` is "shapes/alone_retinanet_r18" or an absolute path."""
    words = ["train_net.py", "--config-file", f"{REPO / 'configs' / config}.py", *arguments, *SMALL]
    env = dict(os.environ, DETECTRON2_DATASETS=str(datasets), OMP_NUM_THREADS="1")
    if not launcher:
        return run_program(words, env, timeout=300)
    command = [*launcher, *words]
    return subprocess.run(command, cwd=REPO, env=env, capture_output=True, text=True, timeout=300, check=False)


def read_metrics(folder):
    return [json.loads(line) for line in (folder / "metrics.json").read_text().splitlines()]
