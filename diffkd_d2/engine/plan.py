"""The plan that `--dry-run` prints: what the run will do, and what one step costs."""

import logging
import resource
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from detectron2.utils.events import EventStorage
from omegaconf import DictConfig
from torch import nn

from ..data.loaders import dataset_names
from ..meta_arch.distilled_model import DistilledModel
from .class_lists import class_names
from .evaluators import EvaluationSet
from .preflight import Checked
from .teacher_maps import Variance
from .trainer import DTYPES
from .undo import unchanged

logger = logging.getLogger(__name__)


def log_plan(
    cfg: DictConfig,
    model: DistilledModel,
    loader: Any,
    test_sets: Sequence[EvaluationSet],
    checked: Checked,
    start_iter: int,
) -> None:
    """Log the plan; run one batch forward and backward for it, and restore the model.

    The plan does not repeat earlier log lines: the recipe with schedule and optimizer, and the loaded weights.

    Args:
        cfg: the run's config.
        model: student, teachers and points.
        loader: of the training data.
        test_sets: loaders and evaluators.
        checked: what `preflight` returned.
        start_iter: first iteration.
    """
    lines = ["Plan:"]
    lines += [f"  model   {line}" for line in _models(model)]
    for name, data in {
        f"train {' + '.join(dataset_names(cfg.dataloader.train))}".rstrip(): loader,
        **{f"test {s.name}".rstrip(): s.loader for s in test_sets},
    }.items():
        lines += [f"  data    {name}: {line}" for line in data_lines(data)]
    lines += [f"  point   {line}" for line in _points(model, checked.maps)]
    lines += [f"  length  iterations {start_iter} to {cfg.train.max_iter - 1}; {_window(cfg, model)}"]
    lines += [f"  step    {_cost(cfg, model, checked.batches)}"]
    lines += ["  nothing was trained: --dry-run"]
    logger.info("\n".join(lines))


def _models(model: DistilledModel) -> list[str]:
    parts = {"student": model.student, "distillers": model.points}
    parts |= {f"teacher{i or ''}": teacher for i, teacher in enumerate(model.teachers)}
    return [f"{name}: {type(part).__name__}, {_millions(part)}" for name, part in parts.items()]


def _millions(part: nn.Module) -> str:
    sizes = [(p.numel(), p.requires_grad) for p in part.parameters()]
    total, trained = sum(n for n, _ in sizes), sum(n for n, trained in sizes if trained)
    return f"{total / 1e6:.2f} M parameters, {trained / 1e6:.2f} M of them trained"


def data_lines(loader: Any) -> list[str]:
    """Return lines on images, objects per class, and records that were left out."""
    records = getattr(loader, "records", None)
    if records is None:
        try:
            return [f"{len(loader.dataset)} images"]
        except (AttributeError, TypeError):  # Detectron2's grouped loader has a `dataset` whose `len` fails
            return ["a loader that does not say what it reads"]
    annotations = [x for record in records for x in record.get("annotations", ())]
    crowds = sum(bool(x.get("iscrowd")) for x in annotations)
    counts = Counter(x["category_id"] for x in annotations if not x.get("iscrowd"))
    classes = class_names(loader).get("things", [])
    boxes = ", ".join(f"{classes[i] if i < len(classes) else i} {counts[i]}" for i in sorted(counts))
    lines = [f"{len(records)} images, {sum(counts.values())} boxes" + (f", {crowds} crowd regions" if crowds else "")]
    lines += [f"boxes per class: {boxes}"] if boxes else []
    return lines + [f"left out: {count} {reason}" for reason, count in getattr(loader, "left_out", {}).items()]


def _points(model: DistilledModel, maps: dict[str, list[Variance]]) -> list[str]:
    lines = []
    point: Any
    for point in model.points:
        what = f"{type(point.distiller).__name__}, weight {point.weight:g}"
        strides = ", ".join(str(stride or "by the maps") for stride in point.strides)
        shapes = ", ".join(str(m.shape) for m in maps.get(point.name, ()))
        lines.append(f"{point.name}: {point.student} <- {point.teacher}, {what}, stride {strides}, teacher's {shapes}")
    return lines or ["none: training is that of the bare student"]


def _window(cfg: DictConfig, model: DistilledModel) -> str:
    if not model.points:
        return "no distillation"
    distill = cfg.distill
    if not distill.weight:
        return "distill.weight is 0: no loss_kd"
    stop = cfg.train.max_iter if distill.stop_iter is None else min(distill.stop_iter, cfg.train.max_iter)
    warm_up = f", rising over {distill.warmup_iters}" if distill.warmup_iters else ""
    return f"loss_kd acts in iterations {distill.start_iter} to {stop - 1}{warm_up}"


def _cost(cfg: DictConfig, model: DistilledModel, batches: Iterable[Any]) -> str:
    """Return time and peak memory of one forward and backward pass, after one pass as warm-up."""
    batch, device = next(iter(batches)), torch.device(cfg.train.device)
    dtype = DTYPES.get(cfg.train.amp.dtype)
    for _ in range(2):
        if device.type == "cuda":
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
        begin = time.perf_counter()
        with unchanged(model), EventStorage():
            with torch.autocast(device.type, dtype, enabled=dtype is not None):
                losses = model.train()(batch)
            sum(losses.values()).backward()
            if device.type == "cuda":
                torch.cuda.synchronize()
            seconds = time.perf_counter() - begin
    if device.type == "cuda":
        memory = f"{torch.cuda.max_memory_allocated() / 2**20:.0f} MB of the GPU at most"
    else:
        memory = f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB of the process at most"
    return f"{seconds:.2f} s forward and backward without the optimizer, {memory}"
