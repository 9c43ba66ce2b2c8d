"""The training step: Detectron2's SimpleTrainer with mixed precision and gradient clipping."""

import time
from collections.abc import Iterable
from contextlib import nullcontext
from typing import Any

import torch
from detectron2.engine import SimpleTrainer
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ..errors import UserError

DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16}


class Trainer(SimpleTrainer):
    """One step: forward, backward, clip, update. It runs on v0.6, whose AMPTrainer knows neither bfloat16 nor clipping.

    Args:
        model: returns a dict of losses in training.
        data_loader: yields batches.
        optimizer: of the model's parameters.
        amp: None (float32), "float16" (with loss scaling) or "bfloat16".
        clip_norm: largest gradient norm of each module in `clip_modules`; None: no clipping.
        clip_modules: modules clipped apart from each other, so that a distiller cannot shrink the student's step.
        accumulate: batches whose gradients are averaged into one update, at least 1.

    Raises:
        UserError: if `amp` is none of these, or float16 is asked for without a GPU.
    """

    def __init__(
        self,
        model: nn.Module,
        data_loader: Iterable[Any],
        optimizer: torch.optim.Optimizer,
        amp: str | None = None,
        clip_norm: float | None = None,
        clip_modules: Iterable[nn.Module] = (),
        accumulate: int = 1,
    ):
        super().__init__(model, data_loader, optimizer)
        self.device_type = next(model.parameters()).device.type
        if amp not in (None, *DTYPES):
            raise UserError(f"train.amp.dtype is '{amp}', expected one of {', '.join(DTYPES)}")
        if amp == "float16" and self.device_type == "cpu":
            raise UserError("train.amp.dtype float16 needs a GPU; on a CPU use bfloat16")
        self.accumulate = accumulate
        self.amp_dtype = DTYPES.get(amp)
        self.grad_scaler = torch.amp.GradScaler(self.device_type, enabled=amp == "float16")
        self.clip_norm = clip_norm
        self.clip_modules = [module for module in clip_modules if any(True for _ in module.parameters())]

    def run_step(self) -> None:
        """Make one update; raises FloatingPointError where the sum of losses is not finite."""
        self.optimizer.zero_grad()
        data_time, losses = 0.0, {}
        for i in range(self.accumulate):
            start = time.perf_counter()
            data = next(self._data_loader_iter)
            data_time += time.perf_counter() - start
            for name, value in self._backward(data, last=i + 1 == self.accumulate).items():
                losses[name] = losses.get(name, 0) + value.detach() / self.accumulate
        self._write_metrics(losses, data_time)
        if self.clip_norm is not None:
            self.grad_scaler.unscale_(self.optimizer)
            for module in self.clip_modules:
                nn.utils.clip_grad_norm_(module.parameters(), self.clip_norm)
        self.grad_scaler.step(self.optimizer)
        self.grad_scaler.update()

    def _backward(self, data: Any, last: bool) -> dict[str, Tensor]:
        """Add a batch's gradients to those there; processes exchange them with the last batch of an update."""
        waits = isinstance(self.model, DistributedDataParallel) and not last
        with self.model.no_sync() if waits else nullcontext():
            with torch.autocast(self.device_type, self.amp_dtype, enabled=self.amp_dtype is not None):
                losses = self.model(data)
            self.grad_scaler.scale(sum(losses.values()) / self.accumulate).backward()
        return losses

    def state_dict(self) -> dict[str, Any]:
        """As SimpleTrainer's, with the state of the gradient scaler."""
        return {**super().state_dict(), "grad_scaler": self.grad_scaler.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        super().load_state_dict(state_dict)
        self.grad_scaler.load_state_dict(state_dict["grad_scaler"])
