"""`train_net.py` as a user calls it, in a process of its own, and what it leaves."""

import json
import os
from pathlib import Path

from quick_start import run_program

REPO = Path(__file__).resolve().parents[2]
SMALL = ["train.eval_period=0", "train.log_period=1", "dataloader.train.num_workers=0", "dataloader.test.num_workers=0"]


def train_net(datasets, config, *arguments, processes=None):
    """Run `train_net.py`, under torchrun if `processes` is a number.

    `config` is "shapes/alone_retinanet_r18" or an absolute path.
    """
    words = ["train_net.py", "--config-file", f"{REPO / 'configs' / config}.py", *arguments, *SMALL]
    env = dict(os.environ, DETECTRON2_DATASETS=str(datasets), OMP_NUM_THREADS="1")
    if processes:
        words = ["tests/helpers/forked_torchrun.py", str(processes), *words]
    return run_program(words, env, timeout=300)


def read_metrics(folder):
    return [json.loads(line) for line in (folder / "metrics.json").read_text().splitlines()]
