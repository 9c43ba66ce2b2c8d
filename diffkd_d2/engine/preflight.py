"""Check a run before its first step; `preflight` lists the checks."""

import itertools
import logging
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
from detectron2.utils import comm
from detectron2.utils.events import EventStorage
from omegaconf import DictConfig
from torch import nn

from ..data.stream import seeded
from ..errors import UserError
from ..meta_arch.distilled_model import DistilledModel
from ..modeling.teacher import require_loaded
from .build import explained_errors
from .class_lists import ClassLists, check_class_lists, check_logit_classes
from .evaluators import EvaluationSet, loaders_by_name
from .loaders import check_image_format
from .outputs import try_outputs
from .teacher_check import check_teachers
from .teacher_maps import Variance, report_teacher_maps, watch_teacher_maps
from .undo import unchanged

logger = logging.getLogger(__name__)

# Part of a message of Detectron2's models about targets that are missing -> what the user can do.
CURES = {
    "Instance annotations are missing": "Does the training data have boxes, and its mapper is_train=True?",
    "'gt_masks'": "Set dataloader.train.mapper.use_instance_mask=True",
    "'gt_keypoints'": "Set dataloader.train.mapper.use_keypoint=True",
    "argument 'target' (position 2) must be Tensor, not NoneType": "Does the training data have label maps?",
}


class Checked(NamedTuple):
    """Results of the checks that the run uses."""

    batches: Iterable[Any]
    """The training batches; see `try_first_batch`."""
    maps: dict[str, list[Variance]]
    """Point name -> variances of the teacher's maps that its distiller gets."""
    classes: ClassLists
    """The classes of the data, for the checkpoint."""


def preflight(
    cfg: DictConfig, model: DistilledModel, loader: Any, test_sets: Sequence[EvaluationSet], writes: bool = True
) -> Checked:
    """Run all checks that come after the parts of a run are built and before its first step.

    Args:
        cfg: the run's config; `schema.py` checked its values when it was loaded.
        model: student, teachers and points.
        loader: loader of the training data, which was checked when it was built (`data/loaders.py`).
        test_sets: loaders and evaluators, which were tried when they were built (`evaluators.py`).
        writes: whether the teacher's results are written into the run's folder.

    Raises:
        UserError: from the first check that fails.
    """
    require_loaded(model.teachers)
    check_weights(model)
    check_window(cfg, has_points=len(model.points) > 0)
    check_image_format(cfg.dataloader.train, model.student)
    classes = check_class_lists({"the training data": loader, **loaders_by_name(test_sets)}, model.student)
    check_logit_classes(model, classes)
    with watch_teacher_maps(model.points) as maps:
        batches = try_first_batch(model, loader, cfg.train.seed)
    report_teacher_maps(maps)
    warn_of_missing_loss(model)
    try_outputs(model.student, test_sets)
    if cfg.distill.get("teacher_check") and model.teachers:
        check_teachers(cfg, model.teachers, writes)
    return Checked(batches, maps, classes)


def check_window(cfg: DictConfig, has_points: bool) -> None:
    """Compare the window of the KD loss with the length of the run; warn if its weight is 0.

    Raises:
        UserError: if the window is empty, or begins after the end of the run.
    """
    start, warm_up, stop = cfg.distill.start_iter, cfg.distill.warmup_iters, cfg.distill.stop_iter
    if stop is not None and stop <= start:
        raise UserError(f"distill.stop_iter is {stop}, expected more than distill.start_iter, {start}")
    if not has_points:
        return
    if not cfg.distill.weight:
        logger.warning("distill.weight is 0: loss_kd does nothing")
    if start >= cfg.train.max_iter:
        raise UserError(f"distill.start_iter is {start}, but the run ends at train.max_iter={cfg.train.max_iter}")
    if start + warm_up >= min(stop or cfg.train.max_iter, cfg.train.max_iter):
        logger.warning(f"distill.warmup_iters is {warm_up}: the KD loss never reaches its full weight in this run")


def check_weights(model: DistilledModel) -> None:
    """Check the weight of each point.

    Raises:
        UserError: if a weight is negative, NaN or Inf. A weight of 0 gives a warning.
    """
    point: Any
    for point in model.points:
        if not 0 <= point.weight < float("inf"):
            raise UserError(f"point '{point.name}': its weight is {point.weight}, expected 0 or more")
        if point.weight == 0:
            logger.warning(f"point '{point.name}' has the weight 0: it does nothing")


def warn_of_missing_loss(model: DistilledModel) -> None:
    """Warn of points whose distiller returned no `loss_kd` for the first batch."""
    for name in sorted(set(model.loss_to_point.values())):
        if f"loss_kd_{name}" not in model.loss_to_point:
            logger.warning(f"point '{name}' has no loss_kd, on which alone distill.weight, balance and window act")


def try_first_batch(model: DistilledModel, loader: Iterable[Any], seed: int = -1) -> Iterable[Any]:
    """Run the first batch without gradients, so that data or a point that does not fit stops the run before training.

    Unlike in training, the teachers run to their end. The random generators, the model's buffers and the running
    normalizer of Detectron2's dense detectors are restored.

    Returns:
        the training batches. A loader that can start at any position is returned as it is; other loaders continue from
        the batch after the first, since restarting them would lose AspectRatioGroupedDataset's half-filled groups (v0.6
        then never yields again).

    Raises:
        UserError: from the first point that does not fit, or if a library cannot train on the batch.
        ProjectError: if a project's code fails.
    """
    # A loader of a project's own draws the seeds of its workers, which must not depend on teacher and method.
    own = seed >= 0 and not hasattr(loader, "start")
    with explained_errors("the first training batch"):
        with seeded(seed, comm.get_rank()) if own else nullcontext():
            batches = iter(loader)
            first = next(batches)
        with unchanged(model), torch.no_grad(), EventStorage(), model.run_teachers_to_the_end():
            try:
                model.train()(first)
            except (AssertionError, AttributeError, TypeError) as error:
                cure = next((cure for part, cure in CURES.items() if part in str(error)), None)
                if cure is None:
                    raise
                raise UserError(f"the first training batch: {error} ({cure})") from error
    return loader if hasattr(loader, "start") else itertools.chain([first], batches)


def warn_of_random_weights(init_checkpoint: str, student: nn.Module) -> None:
    """Warn if a student without `train.init_checkpoint` has frozen parameters, which then stay random."""
    frozen = sum(p.numel() for p in student.parameters() if not p.requires_grad)
    if frozen and not init_checkpoint:
        logger.warning(
            f"{frozen} parameters of the student are frozen, and train.init_checkpoint is empty: unless the model "
            "loads weights itself, they stay random (a YAML config's MODEL.WEIGHTS is not read)"
        )
