"""Gradient norm of each distillation loss relative to the task loss: what to look at before choosing a weight."""

import logging
from collections.abc import Sequence

import torch
from detectron2.engine import HookBase
from tabulate import tabulate
from torch import Tensor

from ..meta_arch.distilled_model import DistilledModel

logger = logging.getLogger(__name__)

# A ratio of gradient norms between these is no reason to change the weight.
LOWEST, HIGHEST = 0.01, 10.0


class GradientReportHook(HookBase):
    """Log, in a few early iterations, the norm of each loss's gradient in the student's parameters.

    All distillation losses together are compared with the task: a warning says so where the ratio of the norms is
    below `LOWEST` or above `HIGHEST`. The training is the same with and without this hook. Each line costs a
    backward pass, and the graph is kept meanwhile.

    Args:
        model: the model in training, not its DDP wrapper.
        start_iter: where the window of the KD loss begins.
        after: the iterations of the report, counted from there.
    """

    def __init__(self, model: DistilledModel, start_iter: int = 0, after: Sequence[int] = (0, 10, 100)):
        self.model, self.iterations = model, {start_iter + i for i in after}

    def after_forward(self, losses: dict[str, Tensor], scale: float = 1.0) -> None:
        """Measure and log in all processes, because a backward pass may wait for the others.

        Args:
            losses: of this step, in their graph.
            scale: factor that keeps the gradients in the range of float16.
        """
        origin = self.model.origin
        share = self.model.distill_scale
        if self.trainer.iter not in self.iterations or not origin or not share:
            return
        task = [v for k, v in losses.items() if k not in origin]
        terms = {k: v for k, v in losses.items() if k in origin}
        try:
            of_task = self._norm(sum(task), scale)
            norms = {k: self._norm(v, scale) / share for k, v in terms.items()}
            together = self._norm(sum(terms.values()), scale) / share
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
            f"gradient norms in the student at iteration {self.trainer.iter}; the task's is {of_task:.3g}:\n{table}"
        )
        if not LOWEST <= ratio <= HIGHEST:
            logger.warning(
                f"distillation pulls at the student with {ratio:.3g} times the gradient of the task, outside of "
                f"{LOWEST:g} to {HIGHEST:g}: look at model.points.*.weight"
            )

    def _norm(self, loss: Tensor | int, scale: float) -> float:
        parameters = [p for p in self.model.student.parameters() if p.requires_grad]
        if not isinstance(loss, Tensor) or not loss.requires_grad:
            return 0.0
        gradients = torch.autograd.grad(loss * scale, parameters, retain_graph=True, allow_unused=True)
        norms = [g.norm().double() / scale for g in gradients if g is not None]
        return float(torch.stack(norms).norm()) if norms else 0.0
