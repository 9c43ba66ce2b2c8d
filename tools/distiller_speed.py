#!/usr/bin/env python
"""How fast DiffKD alone is: beside the plain transcription of its formulas, and over sizes and evaluations.

python tools/distiller_speed.py --json out.json
python tools/distiller_speed.py --device cuda --amp bfloat16 --size 800x1344 --batch 2

The maps are P2 to P6 of an image of `--size`, 256 channels in student and teacher (the authors' setting: no
autoencoder, 5 evaluations). Jobs run in one process, interleaved, `--repeats` times; a ratio is the median over rounds.
The transcription is `tests/reference_diffkd.py`, always float32; so is ours unless `--amp` is given. `--compile` adds
torch.compile, with dynamic shapes, and says how many graphs that made of all levels and sizes; it takes minutes more.
"""

import argparse
import json
import math
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch._dynamo.utils import counters

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmark import CLOCKS, measure
from reference_diffkd import reference_losses

from diffkd_d2.distillers import DiffKD
from diffkd_d2.engine.compilation import compile_distillers
from diffkd_d2.engine.trainer import DTYPES
from diffkd_d2.errors import UserError, one_line_errors
from diffkd_d2.meta_arch.distill_point import DistillPoint

STRIDES = (4, 8, 16, 32, 64)
CHANNELS = 256
SCALES = (0.5, 0.7071, 1.0, 1.4142)  # of height and width: each has twice the pixels of the one before
EVALUATIONS = (1, 2, 3, 5, 8)


def pyramid(height: int, width: int) -> list[tuple[int, int]]:
    """Return height and width of P2 to P6 of an image."""
    return [(math.ceil(height / s), math.ceil(width / s)) for s in STRIDES]


def ours(
    shapes: list[tuple[int, int]], args: argparse.Namespace, compiled: bool = False, **options: int
) -> Callable[[], None]:
    """Return a forward and backward pass of a DiffKD for each map."""
    rows = [(DiffKD(CHANNELS, CHANNELS, **options).to(args.device), *_features(shape, args)) for shape in shapes]
    if compiled:
        compile_distillers(DistillPoint("student", "teacher", distiller) for distiller, *_ in rows)

    def job() -> None:
        for distiller, student, teacher in rows:
            sum(v for k, v in distiller(student, teacher).items() if k.startswith("loss_")).backward()

    return job


def reference(shapes: list[tuple[int, int]], args: argparse.Namespace) -> Callable[[], None]:
    """Return the same by the transcription, in float32."""
    rows = []
    for shape in shapes:
        distiller = DiffKD(CHANNELS, CHANNELS).to(args.device)
        # Weights as torch makes them: some of the distiller's lie as channels_last, which would slow this down.
        weights = {name: p.detach().contiguous().requires_grad_() for name, p in distiller.named_parameters()}
        rows.append((distiller, weights, *_features(shape, args)))

    def job() -> None:
        for distiller, weights, student, teacher in rows:
            with torch.autocast(args.device, enabled=False):
                with torch.no_grad():
                    target = distiller.standardize(teacher)
                noises = torch.randn_like(teacher), torch.randn_like(teacher)
                steps = torch.randint(1000, (len(teacher),), device=args.device)
                sum(reference_losses(weights, student, target, *noises, steps).values()).backward()

    return job


def _features(shape: tuple[int, int], args: argparse.Namespace) -> list[torch.Tensor]:
    student, teacher = (torch.randn(args.batch, CHANNELS, *shape, device=args.device) for _ in range(2))
    return [student.requires_grad_(), teacher]


def run(args: argparse.Namespace) -> dict:
    """Measure; return the report. Cost is that of a forward and backward pass, in seconds."""
    torch.manual_seed(0)
    height, width = (int(n) for n in args.size.split("x"))
    shapes = pyramid(height, width)
    if math.prod(pyramid(round(SCALES[0] * height), round(SCALES[0] * width))[-1]) < 2 or args.repeats < 2:
        raise UserError("--size needs two positions on P6 of half the image (160x192 or more), --repeats two rounds")
    work = {"reference": reference(shapes, args), "ours": ours(shapes, args)}
    work["ours, recompute"] = ours(shapes, args, recompute=True)
    for scale in SCALES:
        maps = pyramid(round(scale * height), round(scale * width))
        name = f"latent 64, {sum(map(math.prod, maps))} positions"
        work[name] = ours(maps, args, latent_channels=64)
        if args.compile:
            work[f"{name}, compiled"] = ours(maps, args, compiled=True, latent_channels=64)
    for k in EVALUATIONS:
        work[f"latent 64, K = {k}"] = ours(shapes, args, latent_channels=64, num_function_evals=k)
    seconds = measure(work, args.repeats, args.device, DTYPES.get(args.amp), CLOCKS[args.clock])
    report: dict = dict(size=args.size, batch=args.batch, device=args.device, amp=args.amp, clock=args.clock)
    report["threads"] = torch.get_num_threads()
    if args.device == "cuda":
        report["gpu"] = torch.cuda.get_device_name()
    report["medians"] = {name: statistics.median(times) for name, times in seconds.items()}
    report["quartiles"] = {name: statistics.quantiles(times, n=4)[::2] for name, times in seconds.items()}
    ratios = [a / b for a, b in zip(seconds["reference"], seconds["ours"], strict=True)]
    report["speed_over_reference"] = statistics.median(ratios)
    if args.compile:
        report["graphs"] = counters["stats"]["unique_graphs"]
    return report


def main() -> None:
    """Parse the command line, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="320x448", help="HxW of the image")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=["cpu", "cuda"])
    parser.add_argument("--amp", choices=[*DTYPES], help="autocast of ours to this type")
    parser.add_argument("--compile", action="store_true", help="measure ours compiled, too")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--clock", default="wall", choices=[*CLOCKS])
    parser.add_argument("--json", type=Path, help="write the report here")
    args = parser.parse_args()
    with one_line_errors():
        report = run(args)
    for name, value in report["medians"].items():
        low, high = report["quartiles"][name]
        print(f"{name:38} {1e3 * value:9.1f} ms   ({1e3 * low:.1f} to {1e3 * high:.1f})")
    print(f"{'speed_over_reference':38} {report['speed_over_reference']:9.3f}")
    if args.compile:
        print(f"{'graphs compiled':38} {report['graphs']:9}")
    if args.json:
        args.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
