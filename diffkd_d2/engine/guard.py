"""NaN and Inf: skip the step, count it, and name the loss and the images."""

import logging
from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from detectron2.utils import comm
from detectron2.utils.events import get_event_storage
from torch import Tensor, nn

from ..errors import UserError

logger = logging.getLogger(__name__)


class TooManySkippedError(UserError):
    """Too many consecutive steps were skipped; the model is in the state of the last good step."""


class StepGuard:
    """Decide whether to take a step, with the same answer in all processes.

    A skipped step changes no parameter, buffer (running statistics) or optimizer state.

    Args:
        model: in training, not its DDP wrapper.
        max_skipped: number of consecutive skipped steps after which `TooManySkippedError` is raised.
        drop_distill: if only distillation losses are NaN or Inf, take the step without them.
    """

    def __init__(self, model: nn.Module, max_skipped: int = 10, drop_distill: bool = False):
        self.model: Any = model  # a DistilledModel, or a module without `loss_to_point`
        self.max_skipped, self.drop_distill = max_skipped, drop_distill
        self.skipped = self.in_a_row = self.dropped = 0
        self._images: list[Any] = []

    def before_step(self, batches: Sequence[Any]) -> None:
        """Save the buffers and the file names of this step's images."""
        self._buffers = list(self.model.buffers())
        self._copies = [buffer.clone() for buffer in self._buffers]
        records = [x for batch in batches if isinstance(batch, list) for x in batch]
        self._images = [x.get("file_name", "?") for x in records if isinstance(x, dict)]

    def judge_losses(self, losses: dict[str, Tensor]) -> dict[str, Tensor] | None:
        """Return the losses to train on, or None if the step must be skipped."""
        loss_to_point = getattr(self.model, "loss_to_point", {})
        values = torch.stack([v.detach().float() for v in losses.values()]).tolist()
        bad = {k: v for k, v in zip(losses, values, strict=True) if not abs(v) < float("inf")}
        any_bad, task_bad = self._agree(bool(bad), any(k not in loss_to_point for k in bad))
        if not any_bad:
            return losses
        names = [f"{k} (point '{loss_to_point[k]}')" if k in loss_to_point else k for k in bad]
        found = ", ".join(f"{name} is {v}" for name, v in zip(names, bad.values(), strict=True))
        if task_bad or not self.drop_distill:
            self._skip(found)
            return None
        self.dropped += 1
        self._restore(self.model.points)
        self._report(found, f"the distillation losses of this step are dropped ({self.dropped} so far)")
        get_event_storage().put_scalar("dropped_distill", self.dropped, smoothing_hint=False)
        task = {k: v for k, v in losses.items() if k not in loss_to_point}
        # DDP waits for a gradient of every parameter.
        task["loss_distill_dropped"] = 0.0 * sum(p.sum() for p in self.model.parameters() if p.requires_grad)
        return task

    def judge_gradients(self, losses: dict[str, Tensor], scaler: torch.amp.GradScaler) -> bool:
        """Return whether to take the step; call this after the gradients are unscaled.

        Args:
            losses: the result of `judge_losses`.
            scaler: the loss scaler. While its scale is 1 or more, it handles an overflow of float16 itself: it skips
                the update and lowers the scale.
        """
        parameters = [(n, p) for n, p in self.model.named_parameters() if p.grad is not None]
        if not parameters:
            return True
        norms = torch.stack(torch._foreach_norm([p.grad for _, p in parameters]))
        finite = bool(norms.isfinite().all())
        if not self._agree(not finite)[0]:
            self.in_a_row = 0
            if "loss_distill_dropped" in losses:
                # None, not 0, so that weight decay and momentum do not move the distillers. With `accumulate` this
                # gives up the gradients of the other batches too.
                for parameter in self.model.points.parameters():
                    parameter.grad = None
            return True
        if scaler.is_enabled() and scaler.get_scale() >= 1:
            return True
        names = [n for (n, _), ok in zip(parameters, norms.isfinite().tolist(), strict=True) if not ok]
        self._skip(f"the gradient of {', '.join(names[:3])}{' and others' if len(names) > 3 else ''}" if names else "")
        return False

    def state_dict(self) -> dict[str, int]:
        """Return the counts."""
        return {"skipped": self.skipped, "in_a_row": self.in_a_row, "dropped": self.dropped}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Restore the counts."""
        self.skipped, self.in_a_row, self.dropped = (int(state[k]) for k in ("skipped", "in_a_row", "dropped"))

    def _skip(self, found: str) -> None:
        self.skipped += 1
        self.in_a_row += 1
        self._restore(self.model)
        self._report(found, f"the step is skipped ({self.skipped} so far, {self.in_a_row} in a row)")
        get_event_storage().put_scalar("skipped_steps", self.skipped, smoothing_hint=False)
        if self.in_a_row >= self.max_skipped:
            raise TooManySkippedError(
                f"{self.in_a_row} steps in a row had losses or gradients that are not finite (train.max_skipped); "
                "the log names them. The learning rate, a distillation weight or the images are the usual causes"
            )

    @torch.no_grad()
    def _restore(self, part: nn.Module) -> None:
        of_part = {id(buffer) for buffer in part.buffers()}
        for buffer, copy in zip(self._buffers, self._copies, strict=True):
            if id(buffer) in of_part:
                buffer.copy_(copy)

    def _report(self, found: str, done: str) -> None:
        """Log what each process found. All processes must call this; the main process logs."""
        iteration = get_event_storage().iter
        text = f"{found}, not finite; images: {', '.join(map(str, self._images)) or 'unknown'}" if found else ""
        for rank, line in enumerate(comm.gather(text)):
            if line:
                logger.warning(f"iteration {iteration}, process {rank}: {line}")
        logger.warning(f"iteration {iteration}: {done}")

    def _agree(self, *flags: bool) -> list[bool]:
        """Return, for each flag, whether any process set it."""
        if comm.get_world_size() == 1:
            return list(flags)
        device = next(self.model.parameters()).device
        votes = torch.tensor(flags, dtype=torch.int32, device=device)
        dist.all_reduce(votes, dist.ReduceOp.MAX)
        return [bool(vote) for vote in votes.tolist()]
