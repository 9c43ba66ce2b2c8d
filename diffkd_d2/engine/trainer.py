"""The training step: Detectron2's SimpleTrainer with mixed precision, gradient clipping and a guard."""

import logging
import time
from collections.abc import Iterable
from contextlib import nullcontext
from typing import Any

import torch
from detectron2.engine import SimpleTrainer
from detectron2.engine import train_loop as detectron2_loop
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ..errors import UserError
from .guard import StepGuard
from .optimizer import settings_that_differ

logger = logging.getLogger(__name__)

DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16}


class Trainer(SimpleTrainer):
    """Train step by step: forward, backward, clip, update. v0.6's AMPTrainer has neither bfloat16 nor clipping.

    A hook may have a method `after_forward(losses, scale)`, called before the backward pass with the losses, their
    graph intact, and the factor of the loss scaling.

    Args:
        model: model that returns a dict of losses in training.
        data_loader: yields batches.
        optimizer: optimizer of the model's parameters.
        amp: None (float32), "float16" (with loss scaling) or "bfloat16".
        clip_norm: largest gradient norm of each module in `clip_modules`. If None, gradients are not clipped.
        clip_modules: modules that are clipped separately, so that a distiller cannot shrink the student's step.
        accumulate: batches whose gradients are averaged into one update, at least 1.
        max_skipped: see `StepGuard`.
        drop_distill: see `StepGuard`.

    Raises:
        UserError: if `amp` is unknown, or is float16 without a GPU.
    """

    iter: int  # counted by SimpleTrainer

    def __init__(
        self,
        model: nn.Module,
        data_loader: Iterable[Any],
        optimizer: torch.optim.Optimizer,
        amp: str | None = None,
        clip_norm: float | None = None,
        clip_modules: Iterable[nn.Module] = (),
        accumulate: int = 1,
        max_skipped: int = 10,
        drop_distill: bool = False,
    ):
        super().__init__(model, data_loader, optimizer)
        self.device_type = next(model.parameters()).device.type
        if amp not in (None, *DTYPES):
            raise UserError(f"train.amp.dtype is '{amp}', expected one of {', '.join(DTYPES)}")
        if amp == "float16" and self.device_type == "cpu":
            raise UserError(
                "train.amp.dtype float16 (of a YAML config: SOLVER.AMP.ENABLED) needs a GPU; on a CPU use bfloat16"
            )
        self.accumulate = accumulate
        self.amp_dtype = None if amp is None else DTYPES[amp]
        self.grad_scaler = torch.amp.GradScaler(self.device_type, enabled=amp == "float16")
        self.clip_norm = clip_norm
        self.clip_modules = [module for module in clip_modules if any(True for _ in module.parameters())]
        self.guard = StepGuard(getattr(model, "module", model), max_skipped, drop_distill)

    def run_step(self) -> None:
        """Make one update; the guard decides what happens on NaN and Inf.

        Raises:
            TooManySkippedError: if the guard skipped too many consecutive steps.
        """
        start = time.perf_counter()
        # Read all batches first, so that a skipped step consumes as many batches as any other.
        batches = [next(self._data_loader_iter) for _ in range(self.accumulate)]
        data_time = time.perf_counter() - start
        self.guard.before_step(batches)
        self.optimizer.zero_grad()
        losses: dict[str, Tensor] = {}
        for i, data in enumerate(batches):
            of_batch = self._backward(data, first=i == 0, last=i + 1 == self.accumulate)
            if of_batch is None:
                return
            for name, value in of_batch.items():
                losses[name] = losses.get(name, 0) + value.detach() / self.accumulate
        self._write_metrics(losses, data_time)
        self.grad_scaler.unscale_(self.optimizer)
        if self.guard.judge_gradients(losses, self.grad_scaler):
            if self.clip_norm is not None:
                for module in self.clip_modules:
                    nn.utils.clip_grad_norm_(module.parameters(), self.clip_norm)
            self.grad_scaler.step(self.optimizer)
        self.grad_scaler.update()

    def _backward(self, data: Any, first: bool, last: bool) -> dict[str, Tensor] | None:
        """Add a batch's gradients; processes exchange them with the last batch of an update.

        Returns:
            the losses, or None if the guard skips the step.
        """
        waits = isinstance(self.model, DistributedDataParallel) and not last
        with self.model.no_sync() if waits else nullcontext():
            with torch.autocast(self.device_type, self.amp_dtype, enabled=self.amp_dtype is not None):
                losses = self.model(data)
            losses = self.guard.judge_losses(losses)
            if losses is None:
                return None
            for hook in self._hooks if first else ():
                if hasattr(hook, "after_forward"):
                    hook.after_forward(losses, self.grad_scaler.get_scale())
            loss: Any = sum(losses.values())
            self.grad_scaler.scale(loss / self.accumulate).backward()
        return losses

    def train(self, start_iter: int, max_iter: int) -> None:
        """Train like SimpleTrainer, on a CPU without TorchScript's optimizations.

        TorchScript (Detectron2's focal loss) profiles its first calls in a process and optimizes later ones, which
        round differently, so that a resumed run would not be bit for bit equal to the uninterrupted one.
        """
        with torch.jit.optimized_execution(self.device_type != "cpu"):
            super().train(start_iter, max_iter)

    def after_train(self) -> None:
        """Call SimpleTrainer's `after_train`; a run resumed at its end counts no further iteration."""
        self.iter = min(self.iter, self.max_iter)
        super().after_train()

    def state_dict(self) -> dict[str, Any]:
        """Return the states of SimpleTrainer, the gradient scaler and the guard."""
        return {
            **super().state_dict(),
            "grad_scaler": self.grad_scaler.state_dict(),
            "guard": self.guard.state_dict(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the states.

        Raises:
            ValueError: if the iteration is invalid, or the shape of an optimizer state differs from its parameter's.
        """
        iteration = state_dict["iteration"]
        if not isinstance(iteration, int) or not 0 <= iteration < 1 << 40:
            raise ValueError(f"the iteration is {iteration!r}")
        # The config decides whether the optimizer is fused, not the checkpoint.
        for saved, group in zip(state_dict["optimizer"]["param_groups"], self.optimizer.param_groups, strict=False):
            saved["fused"] = group.get("fused")
        differ = settings_that_differ(self.optimizer.param_groups, state_dict["optimizer"]["param_groups"])
        super().load_state_dict(state_dict)
        if differ:
            logger.warning(f"--resume: the optimizer goes on as in the checkpoint, with {', '.join(differ)}")
        for parameter, state in self.optimizer.state.items():
            for name, value in state.items():
                if isinstance(value, torch.Tensor) and value.dim() and value.shape != parameter.shape:
                    raise ValueError(f"{name} of the optimizer is {tuple(value.shape)} for {tuple(parameter.shape)}")
        if state_dict["grad_scaler"]:  # empty if the run had another precision until now
            self.grad_scaler.load_state_dict(state_dict["grad_scaler"])
        if "guard" in state_dict:
            self.guard.load_state_dict(state_dict["guard"])


class _NoTracebackOfUserErrors(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return not (record.exc_info and isinstance(record.exc_info[1], UserError))


# Detectron2's loop logs a traceback for every error; for a UserError, `train_net.py` prints one line instead.
logging.getLogger(detectron2_loop.__name__).addFilter(_NoTracebackOfUserErrors())
