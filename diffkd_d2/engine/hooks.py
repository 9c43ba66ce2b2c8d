"""Hooks of a distillation run."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from detectron2.engine import HookBase, hooks
from detectron2.utils import comm
from fvcore.common.param_scheduler import ParamScheduler
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ..checkpoint.files import write_weights
from ..errors import UserError
from ..meta_arch.distilled_model import DistilledModel


class DistillHook(HookBase):
    """Move the weight of `loss_kd` through its window and write the distillers' metrics to the event storage.

    Args:
        model: the model in training, not its DDP wrapper.
        start_iter: weight of `loss_kd` is 0 before this iteration; losses that train the distiller always act.
        warmup_iters: iterations in which the weight rises linearly to its full value.
        stop_iter: the weight is 0 from this iteration on. If None, it never stops.
        weight: the full value, on top of the points' own weights; at least 0.
        period: iterations between two writings of the metrics.

    Raises:
        UserError: if the window is empty, or a bound or the weight is negative.
    """

    def __init__(
        self,
        model: DistilledModel,
        start_iter: int = 0,
        warmup_iters: int = 0,
        stop_iter: int | None = None,
        weight: float = 1.0,
        period: int = 20,
    ):
        if start_iter < 0 or warmup_iters < 0 or (stop_iter is not None and stop_iter <= start_iter):
            raise UserError(f"distill window: start {start_iter}, warm-up {warmup_iters}, stop {stop_iter}")
        if weight < 0:
            raise UserError(f"distill.weight is {weight}, expected 0 or more")
        self.model, self.weight, self.period = model, weight, period
        self.start_iter, self.warmup_iters, self.stop_iter = start_iter, warmup_iters, stop_iter

    def scale(self, iteration: int) -> float:
        """Return the factor on `loss_kd` at an iteration, in [0, `weight`]."""
        if self.stop_iter is not None and iteration >= self.stop_iter:
            return 0.0
        done = iteration + 1 - self.start_iter
        return self.weight * min(max(done, 0) / (self.warmup_iters + 1), 1.0)

    def before_step(self) -> None:
        """Set the factor for this iteration."""
        self.model.distill_scale = self.scale(self.trainer.iter)

    def after_step(self) -> None:
        """Write `gamma_<point>` and other metrics; not at every step, because reading them waits for the device."""
        if (self.trainer.iter + 1) % self.period == 0 and self.model.points:
            scalars = {name: float(value) for name, value in self.model.metrics.items()}
            self.trainer.storage.put_scalars(**scalars)
            self.trainer.storage.put_scalar("distill_scale", self.model.distill_scale, smoothing_hint=False)


class LRScheduler(hooks.LRScheduler):
    """Detectron2's LRScheduler, which logs a learning rate of the student; the distillers may have another.

    Args:
        student: the model in training; the optimizer's first groups are its own.
        scheduler: the factor on the learning rate.
    """

    def __init__(self, student: nn.Module, scheduler: ParamScheduler):
        super().__init__(scheduler=scheduler)
        self.student = student

    def before_train(self) -> None:
        """Choose the group whose learning rate is logged."""
        super().before_train()
        own = set(self.student.parameters())
        groups = [group for group in self._optimizer.param_groups if own.intersection(group["params"])]
        if groups:
            self._best_param_group_id = self.get_best_param_group_id(SimpleNamespace(param_groups=groups))


class AverageHook(HookBase):
    """Keep the exponential moving average of the student, parameters and buffers; write it when training ends.

    Its `average` is a checkpointable, so that it is resumed with the run; `average.module` is the averaged student.

    Args:
        student: the model in training.
        decay: share of the previous average in the new one, in (0, 1); the first step's weights are copied.
        path: file for the averaged weights, written by the main process like a checkpoint of the student.

    Raises:
        UserError: if the decay is not in (0, 1).
    """

    def __init__(self, student: nn.Module, decay: float, path: str | Path):
        if not 0 < decay < 1:
            raise UserError(f"train.ema_decay is {decay}, expected a number between 0 and 1")
        self.student, self.path = student, path
        self.average = AveragedModel(student, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)

    def after_step(self) -> None:
        """Add the weights of this step to the average."""
        self.average.update_parameters(self.student)

    def after_train(self) -> None:
        """Write the average, unless the run failed before its first step."""
        if comm.is_main_process() and self.average.n_averaged:
            write_weights(self.path, self.average.module)


class PreciseBN(hooks.PreciseBN):
    """Detectron2's, with the first batches of a loader each time, so that a resumed run has the same statistics.

    Args:
        period: iterations between two computations.
        model: the student.
        build: returns a loader. A loader without `start`, which may not be able to begin again, is built each time.
        count: number of batches.
    """

    def __init__(self, period: int, model: nn.Module, build: Callable[[], Iterable[Any]], count: int):
        super().__init__(period, model, None, count)
        self._build = build
        self._loader: Any = build()  # now, so that what is wrong with it is said at the start

    def update_stats(self) -> None:
        """Compute the statistics from the loader's first batches."""
        if self._disabled:
            return
        if self._loader is None:
            self._loader = self._build()
        self._data_iter: Iterator[Any] | None = iter(self._loader)
        super().update_stats()
        if not hasattr(self._loader, "start"):
            self._loader = None
        self._data_iter = None  # ends its workers


class PeriodicCheckpointer(hooks.PeriodicCheckpointer):
    """Detectron2's PeriodicCheckpointer, which keeps the last `max_to_keep` across resumes too."""

    def step(self, iteration: int, **kwargs: Any) -> None:
        """Save if it is time; then remove all but the last `max_to_keep` written, also those of a stopped run."""
        super().step(iteration, **kwargs)
        if (iteration + 1) % self.period == 0 and self.max_to_keep is not None:
            files = Path(self.checkpointer.save_dir).glob(f"{self.file_prefix}_[0-9]*.pth")
            for path in sorted(files, key=lambda path: path.stat().st_mtime_ns)[: -self.max_to_keep]:
                path.unlink()
