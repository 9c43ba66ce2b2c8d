"""Keep the gradient norm of distillation at a chosen multiple of the task's."""

import logging
import math
from typing import Any

from detectron2.engine import HookBase
from detectron2.utils import comm
from torch import Tensor

from ..errors import UserError
from ..meta_arch.distilled_model import DistilledModel
from .gradient_report import Gradients, task_and_distillation

logger = logging.getLogger(__name__)

# The first measurements, in the first iterations with distillation, are averaged; later ones have a weight of 0.1.
FIRST = 10
SMOOTHING = 0.1


class BalanceHook(HookBase):
    """Set the factor on `loss_kd` of all points so that its gradient norm is a multiple of the task's.

    Both norms are taken over the student's parameters that distillation reaches, and averaged over processes. They are
    measured in the first 10 iterations with distillation and then every `period` iterations; each measurement costs two
    backward passes. A norm that is 0, NaN or Inf is not used. The factor is a running mean on a logarithmic scale. It
    is equal in all processes, logged as `distill_balance`, and stored in checkpoints. Register this hook after
    `DistillHook`, whose window, warm-up and weight multiply it. Without points the hook does nothing.

    Args:
        model: the model in training, not its DDP wrapper.
        balance: gradient norm of distillation relative to the task's, above 0.
        start_iter: first iteration of the window.
        period: iterations between measurements, at least 1.

    Raises:
        UserError: if `balance` or `period` is out of range.
    """

    def __init__(self, model: DistilledModel, balance: float, start_iter: int = 0, period: int = 100):
        if not balance > 0 or period < 1:
            raise UserError(f"distill.balance is {balance}, expected a number above 0; the period is {period}")
        self.model, self.balance, self.start_iter, self.period = model, balance, start_iter, period
        self.log_factor, self.tried, self.measured = 0.0, 0, 0

    @property
    def factor(self) -> float:
        """The factor on `loss_kd`, above 0."""
        return math.exp(self.log_factor)

    def before_step(self) -> None:
        """Multiply the model's `distill_scale` by the factor."""
        self.model.distill_scale *= self.factor

    def after_forward(self, losses: dict[str, Tensor], scale: float = 1.0) -> None:
        """Measure if it is due, and apply the new factor in this step.

        Args:
            losses: losses of this step with their graph; the entries `loss_kd_*` are replaced.
            scale: factor that keeps the gradients in the range of float16.

        Raises:
            UserError: if the student uses activation checkpointing that supports only one kind of backward pass.
        """
        # The guard may have dropped the losses of the points.
        names = [name for name in self.model.loss_to_point if name.startswith("loss_kd_") and name in losses]
        if not names or not self.model.distill_scale:
            return
        if self.tried < FIRST or (self.trainer.iter - self.start_iter) % self.period == 0:
            before = self.factor
            self._measure(losses, names, scale)
            change = self.factor / before
            self.model.distill_scale *= change
            losses.update({name: losses[name] * change for name in names})
        self.trainer.storage.put_scalar("distill_balance", self.factor, smoothing_hint=False)

    def _measure(self, losses: dict[str, Tensor], names: list[str], scale: float) -> None:
        task, distillation = task_and_distillation(losses, names)
        try:
            gradients = Gradients(self.model.student, distillation, scale)
        except RuntimeError as error:
            if "checkpoint" not in str(error).lower():
                raise
            raise UserError(f"distill.balance cannot measure gradients: {str(error).splitlines()[0]}") from error
        norms = comm.all_gather((gradients.norm(task), gradients.distillation / self.model.distill_scale))
        of_task, of_distillation = (sum(x) / len(norms) for x in zip(*norms, strict=True))
        self.tried += 1
        if not (0 < of_task < math.inf and 0 < of_distillation < math.inf):
            norms_found = f"{of_task:g} of the task and {of_distillation:g} of distillation"
            logger.warning(f"distill.balance: gradient norms {norms_found} in the student, not used in this step")
            return
        self.measured += 1
        # Dividing by `distill_scale` has removed window, warm-up, `distill.weight` and factor from the norm.
        wanted = math.log(self.balance * of_task / of_distillation)
        self.log_factor += max(1 / self.measured, SMOOTHING) * (wanted - self.log_factor)

    def state_dict(self) -> dict[str, Any]:
        """Return the factor and the numbers of measurements."""
        return {"log_factor": self.log_factor, "tried": self.tried, "measured": self.measured}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the factor and the numbers of measurements."""
        self.log_factor = float(state["log_factor"])
        self.tried, self.measured = int(state["tried"]), int(state["measured"])
