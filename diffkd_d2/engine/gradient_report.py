"""Report the gradient norm of each distillation loss relative to the task loss, as a guide for the weights."""

import logging
from collections.abc import Collection, Sequence

import torch
from detectron2.engine import HookBase
from tabulate import tabulate
from torch import Tensor, nn

from ..meta_arch.distilled_model import DistilledModel

logger = logging.getLogger(__name__)

# Outside this range of gradient-norm ratios the report warns.
LOWEST, HIGHEST = 0.01, 10.0
# Ratios for which the report gives the weights.
WANTED = (0.1, 0.5, 1.0)


class Gradients:
    """Gradient norms over the student's parameters that distillation reaches.

    A head after the last point gets a gradient from the task only, so it is left out of the comparison.

    Args:
        student: the student.
        distillation: sum of the distillation losses, with its graph.
        scale: factor that keeps the gradients in the range of float16.

    Raises:
        RuntimeError: if the graph does not support several backward passes.
    """

    def __init__(self, student: nn.Module, distillation: Tensor, scale: float = 1.0):
        parameters = [p for p in student.parameters() if p.requires_grad]
        self.scale = scale
        gradients = self._gradients(distillation, parameters)
        self.reached = [p for p, g in zip(parameters, gradients, strict=True) if g is not None]
        self.distillation = self._norm(gradients)

    def norm(self, loss: Tensor) -> float:
        """Return the gradient norm of a loss."""
        return self._norm(self._gradients(loss, self.reached))

    def _gradients(self, loss: Tensor, parameters: list[nn.Parameter]) -> Sequence[Tensor | None]:
        if not parameters or not loss.requires_grad:
            return [None] * len(parameters)
        return torch.autograd.grad(loss * self.scale, parameters, retain_graph=True, allow_unused=True)

    def _norm(self, gradients: Sequence[Tensor | None]) -> float:
        norms = [g.norm().double() / self.scale for g in gradients if g is not None]
        return float(torch.stack(norms).norm()) if norms else 0.0


def task_and_distillation(losses: dict[str, Tensor], names: Collection[str]) -> tuple[Tensor, Tensor]:
    """Return the sum of the task losses and the sum of the distillation losses, which are those in `names`."""
    task = [v for k, v in losses.items() if k not in names]
    return torch.stack(task).sum(), torch.stack([losses[k] for k in names]).sum()


class GradientReportHook(HookBase):
    """Log the gradient norm of each distillation loss relative to the task loss, in a few early iterations.

    The report ends with the values of `distill.weight` that would give the ratios `WANTED`. A warning follows if the
    ratio for all distillation losses together is below `LOWEST` or above `HIGHEST`. The norms are those of `Gradients`
    at the full weight, that is without the warm-up. The hook does not change the training. Each line costs a backward
    pass, and the graph is kept until the report is done.

    Args:
        model: the model in training, not its DDP wrapper.
        start_iter: first iteration of the KD window.
        weight: `distill.weight`, on top of the points' own weights.
        after: iterations of the report, counted from `start_iter`.
    """

    def __init__(
        self, model: DistilledModel, start_iter: int = 0, weight: float = 1.0, after: Sequence[int] = (0, 10, 100)
    ):
        self.model, self.weight, self.iterations = model, weight, {start_iter + i for i in after}

    def after_forward(self, losses: dict[str, Tensor], scale: float = 1.0) -> None:
        """Measure and log in all processes, because a backward pass may wait for the others.

        Args:
            losses: losses of this step with their graph.
            scale: factor that keeps the gradients in the range of float16.
        """
        # The guard may have dropped the losses of the points.
        names = [name for name in self.model.loss_to_point if name in losses]
        if self.trainer.iter not in self.iterations or not names or not self.model.distill_scale:
            return
        share = self.model.distill_scale / self.weight  # of the full weight, during the warm-up
        try:
            task, distillation = task_and_distillation(losses, names)
            gradients = Gradients(self.model.student, distillation, scale)
            of_task, together = gradients.norm(task), gradients.distillation / share
            norms = {k: gradients.norm(losses[k]) / share for k in names}
        except RuntimeError as error:
            logger.info(f"no report on the scale of the losses: {str(error).splitlines()[0]}")
            return
        # Losses that train only the distiller have no gradient in the student.
        rows: list[list[str | float]] = [
            [k, losses[k].item(), norm, norm / max(of_task, 1e-30)] for k, norm in norms.items() if norm
        ]
        ratio = together / max(of_task, 1e-30)
        rows.append(["all of them", sum(losses[k].item() for k, norm in norms.items() if norm), together, ratio])
        table = tabulate(rows, headers=["loss", "value", "norm", "over the task's"], floatfmt=".3g")
        logger.info(
            f"gradient norms in the student where distillation reaches, at iteration {self.trainer.iter}; "
            f"the task's is {of_task:.3g}:\n{table}\n{self._weights(ratio)}"
        )
        if not LOWEST <= ratio <= HIGHEST:
            logger.warning(
                f"distillation pulls at the student with {ratio:.3g} times the gradient of the task, outside of "
                f"{LOWEST:g} to {HIGHEST:g}: look at distill.weight"
            )

    def _weights(self, ratio: float) -> str:
        if not ratio:
            return "no distillation loss reaches the student"
        weights = ", ".join(f"{self.weight * wanted / ratio:.3g} for {wanted:g}" for wanted in WANTED)
        return f"distill.weight for a ratio of gradient norms: {weights}"
