"""Parameter groups for the optimizer."""

from . import _detectron2  # noqa: F401

# isort: split

from typing import Any

from detectron2.solver.build import get_default_optimizer_params

from .distilled_model import DistilledModel


def distill_optimizer_params(
    model: DistilledModel,
    base_lr: float,
    distiller_lr_factor: float = 1.0,
    weight_decay_norm: float | None = None,
    weight_decay_bias: float | None = None,
) -> list[dict[str, Any]]:
    """Return the groups of the student and of the distillers, the latter with a learning rate of their own.

    Args:
        model: student and points; the teacher is frozen and in no group.
        base_lr: learning rate of the student.
        distiller_lr_factor: the distillers' learning rate over the student's.
        weight_decay_norm: weight decay of normalisation layers; None: the optimizer's.
        weight_decay_bias: the same for biases.
    """
    decays = dict(weight_decay_norm=weight_decay_norm, weight_decay_bias=weight_decay_bias)
    student = get_default_optimizer_params(model.student, base_lr, **decays)
    if not len(model.points):
        return student
    distillers = get_default_optimizer_params(model.points, base_lr * distiller_lr_factor, **decays)
    return student + distillers
