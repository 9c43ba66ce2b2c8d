"""Log the recipe of a run: learning rate, batch, length, schedule, parameters."""

import importlib.util
import logging
from typing import Any

import torch
from detectron2.engine import default_writers
from detectron2.utils import comm
from detectron2.utils.events import CommonMetricPrinter, EventWriter, JSONWriter
from omegaconf import DictConfig, OmegaConf
from torch import nn

from ..meta_arch.distilled_model import DistilledModel
from .optimizer import images_per_step

logger = logging.getLogger(__name__)


def build_writers(output_dir: str, max_iter: int) -> list[EventWriter]:
    """Return Detectron2's default writers. If TensorBoard is not installed, log that and leave its writer out."""
    if importlib.util.find_spec("tensorboard") is not None:
        return default_writers(output_dir, max_iter)
    logger.warning("no events for TensorBoard are written: pip install tensorboard")
    return [CommonMetricPrinter(max_iter), JSONWriter(f"{output_dir}/metrics.json")]


def log_recipe(cfg: DictConfig, learning_rate: str, loader: Any, model: DistilledModel, schedule: Any) -> None:
    """Log the block `Recipe`.

    Args:
        cfg: the run's config.
        learning_rate: text from `scale_learning_rate`.
        loader: loader of the training data; `dataset` and `augmentation` are used if it has them.
        model: student, teachers and points.
        schedule: factor on the learning rate as a function of the fraction of the run.
    """
    images, world, accumulate = images_per_step(cfg), comm.get_world_size(), cfg.train.accumulate
    batch = "as the loader has it"
    if images is not None:
        batch = f"{images} = {images // world // accumulate} x {world} process(es) x {accumulate} accumulated"
    length = f"{cfg.train.max_iter} iterations"
    if hasattr(loader, "dataset") and hasattr(loader, "augmentation"):
        size = len(loader.dataset)
        length += f" = {cfg.train.max_iter * images / size:.1f} epochs of {size} images"
        augmentation = loader.augmentation()
    else:
        augmentation = OmegaConf.select(cfg, "dataloader.train.mapper.augmentations", default="as the loader has it")
    factors = ", ".join(f"{schedule(done):.3g}" for done in (*(i / 10 for i in range(10)), 0.999))
    points = ", ".join(f"{p.name} ({type(p.distiller).__name__}, weight {p.weight:g})" for p in model.points)
    lines = {
        "learning rate": learning_rate,
        "batch": batch,
        "length": length,
        "schedule": f"learning rate times {factors} at each tenth of the length",
        "optimizer": _optimizer_words(cfg.optimizer),
        "augmentation": augmentation,
        "regularisation": _regularisation_words(cfg, model.student),
        "distillation": points or "none",
    }
    logger.info("Recipe:\n" + "\n".join(f"  {name:<15} {value}" for name, value in lines.items()))


def _optimizer_words(node: DictConfig) -> str:
    options = {k: v for k, v in node.items() if k not in ("_target_", "params", "lr")}
    target = node._target_ if isinstance(node._target_, str) else node._target_.__name__
    return f"{target.rsplit('.', 1)[-1]} {options}"


def _regularisation_words(cfg: DictConfig, student: nn.Module) -> str:
    smoothing = getattr(student, "label_smoothing", 0.0)
    modules: list[Any] = list(student.modules())
    drops = {float(m.drop_prob) for m in modules if isinstance(getattr(m, "drop_prob", None), float)}  # timm's
    dropout = {m.p for m in modules if isinstance(m, nn.Dropout)} | {getattr(m, "drop_rate", 0.0) for m in modules}
    ema, clip = cfg.train.ema_decay, cfg.train.clip_norm
    return (
        f"label smoothing {smoothing:g}, drop path {max(drops, default=0):g}, dropout {max(dropout):g}, "
        f"gradient norm {'not clipped' if clip is None else f'at most {clip:g}'}, EMA {ema or 'off'}"
    )


def log_parameters(model: DistilledModel, optimizer: torch.optim.Optimizer) -> None:
    """Log the number of parameters of student and distillers, those in the optimizer, and the optimizer's groups."""
    in_optimizer = {id(p) for group in optimizer.param_groups for p in group["params"]}
    for name, part in (("student", model.student), ("distillers", model.points)):
        params = list(part.parameters())
        trained = sum(p.numel() for p in params if id(p) in in_optimizer)
        total = sum(p.numel() for p in params)
        logger.info(f"{name}: {total / 1e6:.2f} M parameters, {trained / 1e6:.2f} M of them in the optimizer")
    groups: dict[tuple[float, float], int] = {}
    for group in optimizer.param_groups:
        key = (group["lr"], group.get("weight_decay", 0.0))
        groups[key] = groups.get(key, 0) + sum(p.numel() for p in group["params"])
    for (lr, decay), count in groups.items():
        logger.info(f"optimizer group: lr {lr:g}, weight decay {decay:g}, {count / 1e6:.2f} M parameters")
