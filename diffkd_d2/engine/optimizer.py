"""Build parameter groups, and scale the learning rate to the batch size."""

from typing import Any

import torch
from detectron2.solver.build import get_default_optimizer_params
from detectron2.utils.registry import locate
from omegaconf import DictConfig, OmegaConf

from ..errors import UserError
from ..meta_arch.distilled_model import DistilledModel
from .build import build


def build_optimizer(cfg: DictConfig, model: DistilledModel) -> torch.optim.Optimizer:
    """Return the optimizer of a config, with separate groups for the distillers.

    If `optimizer.params` is `distill_optimizer_params`, it makes the groups. Any other function, such as a project's,
    is called with the student alone under its own names, so that it can set learning rates per module.
    """
    params = cfg.optimizer.params
    target = params.get("_target_")
    if (locate(target) if isinstance(target, str) else target) is distill_optimizer_params:
        params.model = model
        return build(cfg.optimizer, "optimizer")
    factor = params.pop("distiller_lr_factor", 1.0)
    params.model = model.student
    optimizer = build(cfg.optimizer, "optimizer")
    rate = cfg.optimizer.get("lr") or optimizer.defaults["lr"]
    for group in get_default_optimizer_params(model.points, rate * factor, weight_decay_norm=0.0):
        optimizer.add_param_group(group)
    return optimizer


def distill_optimizer_params(
    model: DistilledModel,
    base_lr: float,
    distiller_lr_factor: float = 1.0,
    weight_decay_norm: float | None = None,
    weight_decay_bias: float | None = None,
) -> list[dict[str, Any]]:
    """Return the groups of student and distillers; the distillers have their own learning rate.

    Args:
        model: student and points; the teacher is frozen and in no group.
        base_lr: learning rate of the student.
        distiller_lr_factor: the distillers' learning rate relative to the student's.
        weight_decay_norm: weight decay of normalisation layers. If None, the optimizer's.
        weight_decay_bias: the same for biases.
    """
    decays = dict(weight_decay_norm=weight_decay_norm, weight_decay_bias=weight_decay_bias)
    student = get_default_optimizer_params(model.student, base_lr, **decays)
    if not len(model.points):
        return student
    distillers = get_default_optimizer_params(model.points, base_lr * distiller_lr_factor, **decays)
    return student + distillers


def scale_learning_rate(cfg: DictConfig) -> str:
    """Scale `optimizer.lr` to the batch size if `train.lr_reference_batch` is set; return a description.

    The batch size counts the images of an update, over all processes and accumulated batches. Without the option
    nothing is scaled, and the number of GPUs changes neither learning rate nor batch size.

    Raises:
        UserError: if `train.accumulate` is below 1, or the config states no learning rate or batch size to scale.
    """
    images, reference, given = images_per_step(cfg), cfg.train.lr_reference_batch, OmegaConf.select(cfg, "optimizer.lr")
    if not reference:
        return f"{given}, not scaled to the batch"
    if images is None or given is None:
        raise UserError("train.lr_reference_batch needs optimizer.lr and dataloader.train.total_batch_size")
    cfg.optimizer.lr = given * images / reference
    return f"{cfg.optimizer.lr:g} = {given:g} x {images} / {reference} (train.lr_reference_batch)"


def images_per_step(cfg: DictConfig) -> int | None:
    """Return the number of images per update. If the config does not state it, return None."""
    if cfg.train.accumulate < 1:
        raise UserError(f"train.accumulate is {cfg.train.accumulate}, expected at least 1")
    batch = OmegaConf.select(cfg, "dataloader.train.total_batch_size")
    return None if batch is None else batch * cfg.train.accumulate


def settings_that_differ(groups: list[dict[str, Any]], saved: list[dict[str, Any]]) -> list[str]:
    """Compare the config's settings of optimizer groups with those in a checkpoint.

    Args:
        groups: `param_groups` of the optimizer before it is restored.
        saved: `param_groups` of the checkpoint, of equal number.

    Returns:
        texts such as "lr 0.01 (config: 0.02)", one for each different pair of values.
    """
    found: dict[str, None] = {}
    for ours, theirs in zip(groups, saved, strict=False):
        for name, value in ours.items():
            # The schedule changes `lr`; `initial_lr`, which a new optimizer does not have yet, is its start.
            before = theirs.get("initial_lr", theirs.get("lr")) if name == "lr" else theirs.get(name, value)
            if name not in ("params", "initial_lr") and _plain(before) != _plain(value):
                found[f"{name} {before} (config: {value})"] = None
    return list(found)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple | list) else value
