#!/usr/bin/env python
"""What one training step of an arm costs over its floor, the student's step plus the teacher's forward pass.

compare.py calls it once for each arm: python tools/compare_cost.py --json cost.json WORDS_OF_TRAIN_NET
"""

import hashlib
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch
from detectron2.config import instantiate
from detectron2.utils.env import seed_all_rng
from detectron2.utils.events import EventStorage
from omegaconf import DictConfig
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmark_meters import measure, median_ratio, peak_memory
from compare_arms import load_arm

from diffkd_d2.checkpoint.files import write_json
from diffkd_d2.engine.loaders import build_loader, check_image_format
from diffkd_d2.engine.trainer import DTYPES
from diffkd_d2.engine.undo import unchanged
from diffkd_d2.engine.weights import device_name
from diffkd_d2.errors import one_line_errors
from diffkd_d2.modeling.fold import fold_frozen_norms

REPEATS = 5


def cost(cfg: DictConfig) -> dict[str, Any]:
    """Return medians of seconds, peak bytes of a step beyond models and inputs, and parameters in training.

    `student_hash` is of the student's initial weights under a fixed seed: arms that differ in it do not start alike.
    """
    device = "cuda" if torch.cuda.is_available() and cfg.train.device != "cpu" else "cpu"
    seed_all_rng(1)
    model = instantiate(cfg.model).to(device).train()
    start = weights_hash(model.student)
    check_image_format(cfg.dataloader.train, model.student)
    batch = next(iter(build_loader(cfg.dataloader.train)))

    with unchanged(model), torch.no_grad(), EventStorage(), model.run_teachers_to_the_end():
        model(batch)  # finds outputs that are changed in place, as training does
    model.teachers[:] = [fold_frozen_norms(t, model.captured_modules(i)) for i, t in enumerate(model.teachers)]

    def step(trained: nn.Module) -> None:
        sum(trained(batch).values()).backward()
        model.zero_grad()

    def floor() -> None:
        for i in range(len(model.teachers)):
            model._run_teacher(i, batch)
        step(model.student)

    work = {"step": lambda: step(model), "floor": floor}
    dtype = DTYPES.get(cfg.train.amp.dtype)
    seconds = measure(work, REPEATS, device, dtype, time.perf_counter)
    memory = {name: peak_memory(job, device, dtype) for name, job in work.items()}
    return {
        **{f"{name}_seconds": statistics.median(values) for name, values in seconds.items()},
        **{f"{name}_bytes": value for name, value in memory.items()},
        "time_over_floor": median_ratio(seconds["step"], seconds["floor"]),
        "memory_over_floor": memory["step"] / memory["floor"],
        "student_parameters": trained_parameters(model.student),
        "distiller_parameters": trained_parameters(model.points),
        "student_hash": start,
        "device": device_name(device),
    }


def weights_hash(model: nn.Module) -> str:
    """Return a hash of all parameters and buffers."""
    digest = hashlib.sha256()
    for name, value in model.state_dict().items():
        digest.update(name.encode() + value.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def trained_parameters(module: nn.Module) -> int:
    """Return how many numbers of a module training changes."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def main() -> None:
    """Measure one arm and write the JSON file."""
    path, words = Path(sys.argv[2]), sys.argv[3:]
    with one_line_errors():
        report = cost(load_arm(words))
    write_json(path, report)


if __name__ == "__main__":
    main()
