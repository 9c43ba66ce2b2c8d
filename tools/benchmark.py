#!/usr/bin/env python
"""What distillation costs: a step of a config against its floor, the student's step plus the teacher's forward.

python tools/benchmark.py --config-file configs/coco/diffkd_r50.py --size 320x448 --batch 1 --json out.json
python tools/benchmark.py --config-file configs/shapes/diffkd_retinanet_r18.py --loader      # the config's own images
torchrun --nproc-per-node 2 tools/benchmark.py ...      # the same in each process, with the exchange of gradients

Everything runs in one process, interleaved, `--repeats` times; medians and quartiles are reported. Weights are random:
they do not change the cost. The teacher is folded as in training. On a machine that others use too, `--clock cpu`
counts the processor's time of this process (set OMP_NUM_THREADS=1: threads that spin count as busy). With
`train.compile=True` the distillers of `distill_step` are compiled, those of the parts are not.

Memory is the most bytes of tensors that a step holds beyond models and inputs: on CUDA the allocator's peak, on a CPU
the sum of torch's allocations. Calls are the kernels that a step launches on CUDA; on a CPU they are torch's operators
but for views, and a compiled distiller counts as if it were not compiled.
"""

import argparse
import copy
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
from detectron2.config import instantiate
from detectron2.engine.defaults import create_ddp_model
from detectron2.structures import BitMasks, Boxes, Instances
from detectron2.utils import comm
from detectron2.utils.events import EventStorage
from omegaconf import DictConfig
from torch.utils._python_dispatch import TorchDispatchMode

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from diffkd_d2.distillers import DiffKD, Mimic
from diffkd_d2.engine.compilation import compile_distillers
from diffkd_d2.engine.config import load_config
from diffkd_d2.engine.launch import join_torchrun, leave_group
from diffkd_d2.engine.loaders import build_loader
from diffkd_d2.engine.trainer import DTYPES
from diffkd_d2.errors import UserError, one_line_errors
from diffkd_d2.meta_arch.capture import record_inputs
from diffkd_d2.meta_arch.distill_point import DistillPoint
from diffkd_d2.meta_arch.distilled_model import DistilledModel
from diffkd_d2.modeling.fold import fold_frozen_norms

OBJECTS = 8
STEPS = ("floor", "mimic_step", "distill_step")
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
Pair = tuple[DiffKD, torch.Tensor, torch.Tensor]


def synthetic_batch(count: int, height: int, width: int, classes: int) -> list[dict]:
    """Noise with a few boxes, masks and labels, in Detectron2's format."""
    batch = []
    for _ in range(count):
        target = Instances((height, width))
        corners = torch.rand(OBJECTS, 2) * torch.tensor([width, height]) * 0.6
        boxes = torch.cat([corners, corners + 8 + torch.rand(OBJECTS, 2) * torch.tensor([width, height]) * 0.3], dim=1)
        target.gt_boxes = Boxes(boxes)
        target.gt_classes = torch.randint(classes, (OBJECTS,))
        x0, y0, x1, y1 = boxes[:, :, None, None].unbind(dim=1)
        x, y = torch.arange(width), torch.arange(height)[:, None]
        target.gt_masks = BitMasks((x0 <= x) & (x < x1) & (y0 <= y) & (y < y1))
        image = torch.randint(0, 255, (3, height, width), dtype=torch.uint8)
        sem_seg = torch.randint(classes, (height, width))
        batch.append(dict(image=image, instances=target, sem_seg=sem_seg, height=height, width=width))
    return batch


def build(cfg: DictConfig, device: str) -> list[DistilledModel]:
    """Return the config's model and the same with feature mimicking at the same points; teacher weights random."""
    student, points = instantiate(cfg.model.student), instantiate(cfg.model.points)
    teacher = instantiate(cfg.model.teacher.model).requires_grad_(False).eval()
    points = points(student, [teacher]) if callable(points) else points
    teacher = fold_frozen_norms(teacher, [path for p in points for path in p.teacher_modules])
    mimics = [
        DistillPoint(
            *(p.student, p.teacher, Mimic(p.distiller.student_channels, p.distiller.teacher_channels)),
            **{name: getattr(p, name) for name in ("key", "teacher_key", "name", "roi", "classes", "subsample")},
        )
        for p in points
    ]
    return [DistilledModel(student, teacher, p).to(device).train() for p in (points, mimics)]


def jobs(model: DistilledModel, mimic: DistilledModel, batch: list[dict], compiled: bool) -> dict[str, Callable]:
    """Return the jobs to measure by name; each clears the gradients. `compiled` applies to `distill_step`."""
    # One student per DDP, since several DDPs would all wait for the gradient of a shared parameter.
    ids = {} if next(model.parameters()).is_cuda else {"device_ids": None}
    alone, mimic, distilled = (
        create_ddp_model(copy.deepcopy(m), broadcast_buffers=False, **ids) for m in (model.student, mimic, model)
    )
    if compiled:
        compile_distillers(getattr(distilled, "module", distilled).points)

    def step(module: torch.nn.Module) -> None:
        sum(module(batch).values()).backward()
        module.zero_grad()

    def floor() -> None:
        model._run_teacher(0, batch)
        step(alone)

    return {
        "student_step": lambda: step(alone),
        "teacher_forward": lambda: model._run_teacher(0, batch),
        "floor": floor,
        "mimic_step": lambda: step(mimic),
        "distill_step": lambda: step(distilled),
    }


def features(model: DistilledModel, batch: list[dict]) -> list[Pair]:
    """Return each DiffKD of the model with its inputs for this batch."""
    found = {path: m for path, m in model.points.named_modules() if isinstance(m, DiffKD)}
    with EventStorage(), record_inputs(model.points, found) as calls:
        model(batch)
    return [(m, student.detach(), teacher) for path, m in found.items() for student, teacher, *_ in calls[path]]


def parts(model: DistilledModel, seen: list[Pair]) -> dict[str, Callable[[], object]]:
    """Return the parts of DiffKD, over all points, on these features."""

    def backward() -> None:
        for distiller, student, teacher in seen:
            outputs = distiller(student.requires_grad_(), teacher)
            sum(v for k, v in outputs.items() if k.startswith("loss_")).backward()
        model.zero_grad()

    def each(part: Callable) -> Callable[[], object]:
        return lambda: [part(*row) for row in seen]

    with torch.no_grad():
        aligned = [d.align(s) for d, s, _ in seen]
        latents = [d.encode(t)[0] for d, _, t in seen]
    first_step = torch.zeros(1, dtype=torch.long, device=seen[0][1].device)
    return {
        "autoencoder_and_standardize": each(lambda d, s, t: d.encode(t)),
        "noise_matcher": lambda: [d.noise_matcher(x, x) for (d, _, _), x in zip(seen, aligned, strict=True)],
        "one_sampling_step": lambda: [d.denoiser(x, first_step) for (d, _, _), x in zip(seen, aligned, strict=True)],
        "align_match_sample": each(lambda d, s, t: d.refine(s)),
        "diffusion_loss": lambda: [d.diffusion_loss(z) for (d, _, _), z in zip(seen, latents, strict=True)],
        "distiller_forward": each(lambda d, s, t: d(s, t)),
        "distiller_forward_backward": backward,
    }


def measure(
    work: dict[str, Callable], repeats: int, device: str, dtype: torch.dtype | None, clock: Callable[[], float]
) -> dict[str, list[float]]:
    """Return seconds of each job, measured in interleaved rounds; the first round is warm-up."""
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for i in range(repeats + 1):
        for name, job in work.items():
            with EventStorage(), torch.autocast(device, dtype, enabled=dtype is not None):
                _synchronise(device)
                start = clock()
                job()
                _synchronise(device)
            if i:
                seconds[name].append(clock() - start)
    return seconds


def peak_memory(job: Callable, device: str, dtype: torch.dtype | None) -> int:
    """Return the peak of tensor memory in bytes that a job adds."""
    with EventStorage(), torch.autocast(device, dtype, enabled=dtype is not None):
        if device == "cuda":
            before = torch.cuda.memory_allocated()
            torch.cuda.reset_peak_memory_stats()
            job()
            return torch.cuda.max_memory_allocated() - before
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
            job()
    events = sorted(profile.profiler.kineto_results.events(), key=lambda e: e.start_ns())
    return max(accumulate(e.nbytes() for e in events if e.name() == "[memory]"), default=0)


class CountCalls(TorchDispatchMode):
    """Count the operators inside the block, except views."""

    calls = 0

    def __torch_dispatch__(self, function: Any, types: tuple, args: tuple = (), kwargs: dict | None = None) -> Any:
        """Run an operator and count it."""
        aliases = [returned.alias_info for returned in function._schema.returns]
        self.calls += not any(alias is not None and not alias.is_write for alias in aliases)
        return function(*args, **(kwargs or {}))


def count_calls(job: Callable, device: str, dtype: torch.dtype | None) -> int:
    """Return how many kernels a job launches on CUDA, or how many operators it calls on a CPU."""
    with EventStorage(), torch.autocast(device, dtype, enabled=dtype is not None):
        if device == "cpu":
            with CountCalls() as counter:
                job()
            return counter.calls
        with torch.profiler.profile() as profile:
            job()
            _synchronise(device)
    return sum(row.count for row in profile.key_averages() if "LaunchKernel" in row.key)


def _synchronise(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def take_batch(args: argparse.Namespace, cfg: DictConfig) -> tuple[list[dict], dict]:
    """Return a batch and its description for the report: the size of synthetic images, or how long the loader takes."""
    if not args.loader:
        height, width = (int(n) for n in args.size.split("x"))
        return synthetic_batch(args.batch, height, width, classes=3), {"size": args.size}
    batches, waits = iter(build_loader(cfg.dataloader.train)), []
    for _ in range(args.repeats + 1):
        start = time.perf_counter()
        batch = next(batches)
        waits.append(time.perf_counter() - start)
    return batch, {"loader_seconds_per_batch": statistics.median(waits[1:])}


def run(args: argparse.Namespace) -> dict:
    """Measure all jobs; return the report."""
    torch.manual_seed(0)
    cfg = load_config(args.config_file, args.opts)
    if not len(cfg.model.points):
        raise UserError(f"{args.config_file} distils nothing: there is no step to compare with the floor")
    report: dict = {name: getattr(args, name) for name in ("device", "amp", "clock")}
    report |= {"config": args.config_file, "threads": torch.get_num_threads(), "processes": comm.get_world_size()}
    report |= {"compile": cfg.train.compile, "gpu": torch.cuda.get_device_name() if args.device == "cuda" else None}
    model, mimic = build(cfg, args.device)
    batch, about_batch = take_batch(args, cfg)
    report |= {"batch": len(batch), **about_batch}
    work = {**jobs(model, mimic, batch, cfg.train.compile), **parts(model, features(model, batch))}
    dtype = DTYPES.get(args.amp)
    seconds = measure(work, args.repeats, args.device, dtype, CLOCKS[args.clock])
    report["medians"] = medians = {name: statistics.median(times) for name, times in seconds.items()}
    report["quartiles"] = {name: statistics.quantiles(times, n=4)[::2] for name, times in seconds.items()}
    for name, of in (("ratio_to_floor", "distill_step"), ("mimic_ratio_to_floor", "mimic_step")):
        report[name] = statistics.median(a / b for a, b in zip(seconds[of], seconds["floor"], strict=True))
    report["images_per_second"] = len(batch) / medians["distill_step"]
    for name, count in (("memory", peak_memory), ("calls", count_calls)):
        report[name] = {step: count(work[step], args.device, dtype) for step in STEPS}
    report["memory_ratio_to_floor"] = report["memory"]["distill_step"] / report["memory"]["floor"]
    if args.loader:
        report["bottleneck"] = "loader" if report["loader_seconds_per_batch"] > medians["distill_step"] else "model"
    return report


def main() -> None:
    """Parse the command line, measure, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config-file", required=True)
    parser.add_argument("--size", default="320x448", help="HxW of synthetic images")
    parser.add_argument("--batch", type=int, default=2, help="synthetic images per step")
    parser.add_argument("--loader", action="store_true", help="the config's own training data instead")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=["cpu", "cuda"])
    parser.add_argument("--amp", choices=[*DTYPES], help="autocast to this type")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--clock", default="wall", choices=CLOCKS)
    parser.add_argument("--json", type=Path, help="write the report here")
    parser.add_argument("opts", nargs="*", help="key=value overrides of the config")
    args = parser.parse_args()
    with one_line_errors():
        if "LOCAL_RANK" in os.environ:
            join_torchrun()
        report = run(args)
        main_process = comm.is_main_process()
        if "LOCAL_RANK" in os.environ:
            leave_group()
    if main_process:
        write(report, args.json)


def write(report: dict, path: Path | None) -> None:
    """Print the report, and write it to a JSON file if there is a path."""
    for name, (low, high) in report["quartiles"].items():
        print(f"{name:28} {1e3 * report['medians'][name]:9.1f} ms   ({1e3 * low:.1f} to {1e3 * high:.1f})")
    print(f"{report['images_per_second']:.2f} images per second")
    for name in ("ratio_to_floor", "mimic_ratio_to_floor", "memory_ratio_to_floor"):
        print(f"{name:28} {report[name]:9.3f}")
    print(f"{'calls':28} {report['calls']}")
    if "bottleneck" in report:
        print(f"the bottleneck is the {report['bottleneck']}")
    if path:
        path.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
