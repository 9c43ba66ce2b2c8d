#!/usr/bin/env python
"""What distillation costs: a step of a config against its floor, the student's step plus the teacher's forward.

python tools/benchmark.py --config-file configs/coco/diffkd_r50.py --size 320x448 --batch 1 --json out.json
python tools/benchmark.py --config-file configs/coco/diffkd_retinanet_r50_from_r101.py --methods all   # as a table
python tools/benchmark.py --config-file configs/shapes/diffkd_retinanet_r18.py --loader      # the config's own images
torchrun --nproc-per-node 2 tools/benchmark.py ...      # the same in each process, with the exchange of gradients

Everything runs in one process, interleaved, `--repeats` times; medians and quartiles are reported. Weights are random:
they do not change the cost. The teacher is folded as in training, and the floor runs it as far as the config's own
points need: a method that reads the teacher's head pays for the head. On a machine that others use too, `--clock cpu`
counts the processor's time of this process (set OMP_NUM_THREADS=1: threads that spin count as busy). With
`train.compile=True` the distillers of `distill_step` are compiled, those of the parts are not.

`<name>_step` is a step with the points of a method, `<name>_points` its points alone, forward and backward; the name of
the config's own points is `distill`. Memory is the most bytes of tensors that a step holds beyond models and inputs: on
CUDA the allocator's peak, on a CPU the sum of torch's allocations. Calls are the kernels that a step launches on CUDA;
on a CPU they are torch's operators but for views, and a compiled distiller counts as if it were not compiled.
"""

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path

import torch
from detectron2.structures import BitMasks, Boxes, Instances
from detectron2.utils import comm
from omegaconf import DictConfig
from tabulate import tabulate

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmark_jobs import OWN, build, diffkd_parts, parts, steps
from benchmark_meters import CLOCKS, count_calls, measure, median_ratio, peak_memory

from diffkd_d2 import recipes
from diffkd_d2.engine.config import load_config
from diffkd_d2.engine.launch import join_torchrun, leave_group
from diffkd_d2.engine.loaders import build_loader
from diffkd_d2.engine.trainer import DTYPES
from diffkd_d2.errors import UserError, one_line_errors

OBJECTS = 8


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
    models, report["left_out"] = build(cfg, chosen_methods(args.methods), args.device)
    batch, about_batch = take_batch(args, cfg)
    report |= {"batch": len(batch), **about_batch}
    work = {**steps(models, batch, cfg.train.compile), **parts(models, batch), **diffkd_parts(models[OWN], batch)}
    dtype = DTYPES.get(args.amp)
    seconds = measure(work, args.repeats, args.device, dtype, CLOCKS[args.clock])
    report["medians"] = medians = {name: statistics.median(times) for name, times in seconds.items()}
    report["quartiles"] = {name: statistics.quantiles(times, n=4)[::2] for name, times in seconds.items()}
    for key, suffix in (("ratio_to_floor", "step"), ("points_to_floor", "points")):
        report[key] = {m: median_ratio(seconds[f"{m}_{suffix}"], seconds["floor"]) for m in models}
    report["images_per_second"] = len(batch) / medians[f"{OWN}_step"]
    jobs = {"floor": work["floor"], **{name: work[f"{name}_step"] for name in models}}
    for key, count in (("memory", peak_memory), ("calls", count_calls)):
        report[key] = {name: count(job, args.device, dtype) for name, job in jobs.items()}
    report["memory_ratio_to_floor"] = {m: report["memory"][m] / report["memory"]["floor"] for m in models}
    if args.loader:
        slow = report["loader_seconds_per_batch"] > medians[f"{OWN}_step"]
        report["bottleneck"] = "loader" if slow else "model"
    return report


def chosen_methods(words: str) -> list[str]:
    """Return the names in a list with commas; "all" means all recipes.

    Raises:
        UserError: if there is no recipe of a name.
    """
    names = recipes.names() if words == "all" else [name for name in words.split(",") if name]
    for name in names:
        recipes.find_recipes(name)
    return names


def main() -> None:
    """Parse the command line, measure, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config-file", required=True)
    parser.add_argument("--methods", default="mimic", help="methods beside the config's own: names with commas, or all")
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
        if args.repeats < 2:
            raise UserError(f"--repeats is {args.repeats}, expected at least 2, which quartiles need")
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
    columns = ("ratio_to_floor", "points_to_floor", "memory_ratio_to_floor", "calls")
    rows = [[name, *(report[column][name] for column in columns)] for name in report["ratio_to_floor"]]
    floor = ["floor", 1.0, 0.0, 1.0, report["calls"]["floor"]]
    print(tabulate([floor, *rows], headers=["", *columns], tablefmt="pipe", floatfmt=".2f"))
    for method, why in report["left_out"].items():
        print(f"{method} is left out: {why}")
    if "bottleneck" in report:
        print(f"the bottleneck is the {report['bottleneck']}")
    if path:
        path.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
