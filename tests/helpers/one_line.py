"""`train_net.py` on a command line of a test's own, and small versions of the zoo's YAML configs."""

import os
import subprocess
from pathlib import Path

import torch
import yaml
from commands import REPO
from detectors import SMALL
from detectron2 import model_zoo
from quick_start import run_program

from diffkd_d2.modeling.yaml_model import yaml_model

SHORT = ["train.log_period=1", "dataloader.train.num_workers=0"]


def run(datasets: Path, *arguments: str, cwd: Path = REPO) -> subprocess.CompletedProcess:
    """Run train_net.py with these arguments; fail with its output where it fails."""
    path = os.pathsep.join([str(REPO), *filter(None, [os.environ.get("PYTHONPATH")])])
    env = dict(os.environ, DETECTRON2_DATASETS=str(datasets), OMP_NUM_THREADS="1", PYTHONPATH=path)
    done = run_program([str(REPO / "train_net.py"), *arguments], env, cwd)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return done


def small_opts(channels: int) -> list:
    """Return overrides that make any model of the zoo small, for the classes of `shapes`."""
    classes = ["MODEL.ROI_HEADS.NUM_CLASSES", 8, "MODEL.RETINANET.NUM_CLASSES", 8, "MODEL.SEM_SEG_HEAD.NUM_CLASSES", 4]
    return [*SMALL, *classes, "MODEL.FPN.OUT_CHANNELS", channels, "MODEL.WEIGHTS", ""]


def small_teacher(folder: Path, config: str) -> list[str]:
    """Write a YAML config that is a small version of one in the zoo, and random weights; return them as flags."""
    opts, tree = small_opts(48), {"_BASE_": model_zoo.get_config_file(config)}
    for key, value in zip(opts[::2], opts[1::2], strict=True):
        node = tree
        for part in key.split(".")[:-1]:
            node = node.setdefault(part, {})
        node[key.split(".")[-1]] = value
    path, weights = folder / "teacher.yaml", folder / "teacher.pth"
    path.write_text(yaml.safe_dump(tree))
    torch.save({"model": yaml_model(str(path)).state_dict()}, weights)
    return ["--teacher", str(path), "--teacher-weights", str(weights)]
