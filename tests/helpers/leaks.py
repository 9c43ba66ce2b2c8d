"""Train on `shapes` and measure what a leak would let grow: `python tests/helpers/leaks.py OUT ITERATIONS`."""

import gc
import json
import os
import sys
import threading
from argparse import Namespace
from pathlib import Path

import numpy as np
import torch
from detectron2.engine import HookBase
from detectron2.utils.env import seed_all_rng

import train_net
from diffkd_d2.engine.config import load_config
from diffkd_d2.engine.trainer import Trainer

EVERY = 5
OVERRIDES = [
    "train.device=cpu",
    "train.seed=1",
    "train.eval_period=500",
    "train.checkpointer.period=250",
    "dataloader.train.total_batch_size=2",
    "dataloader.train.num_workers=1",
    "dataloader.test.num_workers=0",
]


class Meter(HookBase):
    """Notes memory, open files, threads, processes, hooks of modules and live tensors."""

    def __init__(self):
        self.rows: list[dict[str, float]] = []

    def after_step(self) -> None:
        """Measure at every `EVERY`-th iteration."""
        if (self.trainer.iter + 1) % EVERY == 0:
            self.rows.append({"iteration": self.trainer.iter + 1, **measure(self.trainer.guard.model)})


def measure(model: torch.nn.Module) -> dict[str, float]:
    """Return the counts of this moment; memory in MB."""
    gc.collect()
    modules = [m for part in (model, *model.teachers) for m in part.modules()]
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return {
        "memory_mb": int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6,
        "open_files": len(os.listdir("/proc/self/fd")),
        "threads": threading.active_count(),
        "processes": len(children),
        "module_hooks": sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in modules),
        "tensors": sum(isinstance(x, torch.Tensor) for x in gc.get_objects()),
    }


def slopes(rows: list[dict[str, float]]) -> dict[str, float]:
    """Return, per measure, the growth in 1,000 iterations over the second half: a line through medians of tenths."""
    half = rows[len(rows) // 2 :]
    found = {}
    for key in half[0]:
        if key != "iteration":
            tenths = [chunk for chunk in np.array_split(np.arange(len(half)), min(10, len(half))) if len(chunk)]
            x = [np.mean([half[i]["iteration"] for i in chunk]) for chunk in tenths]
            y = [np.median([half[i][key] for i in chunk]) for chunk in tenths]
            found[key] = float(np.polyfit(x, y, 1)[0] * 1000)
    return found


def main() -> None:
    """Train, then write OUT/leaks.json: the rows and the slopes."""
    out, iterations = sys.argv[1], int(sys.argv[2])
    seed_all_rng(1)
    cfg = load_config(
        "configs/shapes/diffkd_retinanet_r18.py",
        [*OVERRIDES, f"train.output_dir={out}", f"train.max_iter={iterations}"],
    )
    Path(out).mkdir(parents=True, exist_ok=True)
    meter = Meter()
    register = Trainer.register_hooks
    Trainer.register_hooks = lambda trainer, hooks: register(trainer, [*hooks, meter])
    train_net.do_train(Namespace(resume=False, dry_run=False), cfg)
    report = {"slopes_per_1000_iterations": slopes(meter.rows), "rows": meter.rows}
    (Path(out) / "leaks.json").write_text(json.dumps(report, indent=1))
    print(json.dumps(report["slopes_per_1000_iterations"], indent=1), meter.rows[0], meter.rows[-1], sep="\n")


if __name__ == "__main__":
    main()
