"""What a run will do, in one block of the log: learning rate, batch, length, schedule, augmentation."""

import logging
from typing import Any

from detectron2.utils import comm
from omegaconf import DictConfig, OmegaConf
from torch import nn

from ..distilled_model import DistilledModel
from ..errors import UserError

logger = logging.getLogger(__name__)


def scale_learning_rate(cfg: DictConfig) -> str:
    """Scale `optimizer.lr` to the batch where `train.lr_reference_batch` asks for it; return how, as words.

    The batch is that of a step over all processes and accumulated batches. Without the option nothing is scaled:
    the number of GPUs alone changes neither the learning rate nor the batch.

    Raises:
        UserError: if `train.accumulate` is below 1, or the batch to scale to is not in the config.
    """
    images, reference, given = images_per_step(cfg), cfg.train.lr_reference_batch, OmegaConf.select(cfg, "optimizer.lr")
    if not reference:
        return f"{given}, not scaled to the batch"
    if images is None or given is None:
        raise UserError("train.lr_reference_batch needs optimizer.lr and dataloader.train.total_batch_size")
    cfg.optimizer.lr = given * images / reference
    return f"{cfg.optimizer.lr:g} = {given:g} x {images} / {reference} (train.lr_reference_batch)"


def images_per_step(cfg: DictConfig) -> int | None:
    """Return how many images one update of the weights sees; None where the loader does not say."""
    if cfg.train.accumulate < 1:
        raise UserError(f"train.accumulate is {cfg.train.accumulate}, expected at least 1")
    batch = OmegaConf.select(cfg, "dataloader.train.total_batch_size")
    return None if batch is None else batch * cfg.train.accumulate


def check_classes(loader: Any, model: nn.Module) -> None:
    """Raise UserError where a loader of labelled images has other classes than the classifier, by number."""
    names, count = getattr(getattr(loader, "dataset", None), "classes", None), getattr(model, "num_classes", None)
    if names is not None and count is not None and len(names) != count:
        raise UserError(f"the dataset has {len(names)} classes, the model {count}: {', '.join(names[:5])}, ...")


def log_recipe(cfg: DictConfig, learning_rate: str, loader: Any, model: DistilledModel, schedule: Any) -> None:
    """Log the block.

    Args:
        cfg: the run's config.
        learning_rate: from `scale_learning_rate`.
        loader: of the training images; one that has `dataset` and `augmentation` says more.
        model: student, teachers and points.
        schedule: of the learning rate, a function of the fraction done.
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
    modules = list(student.modules())
    drops = {float(m.drop_prob) for m in modules if isinstance(getattr(m, "drop_prob", None), float)}  # timm's
    dropout = {m.p for m in modules if isinstance(m, nn.Dropout)} | {getattr(m, "drop_rate", 0.0) for m in modules}
    ema, clip = cfg.train.ema_decay, cfg.train.clip_norm
    return (
        f"label smoothing {smoothing:g}, drop path {max(drops, default=0):g}, dropout {max(dropout):g}, "
        f"gradient norm {'not clipped' if clip is None else f'at most {clip:g}'}, EMA {ema or 'off'}"
    )
