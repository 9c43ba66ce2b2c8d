"""SIGTERM from a scheduler: write a checkpoint after the current step, then exit."""

import functools
import multiprocessing
import os
import signal
import sys
import threading
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist
from detectron2.engine import HookBase
from detectron2.utils import comm

EXIT_CODE = 128 + signal.SIGTERM  # 143, a shell's code for a process that SIGTERM ended


def pass_on_sigterm() -> None:
    """Make a process that started others with `launch` forward SIGTERM to them."""

    def pass_on(number: int, frame: FrameType | None) -> None:
        for child in multiprocessing.active_children():
            child.terminate()

    signal.signal(signal.SIGTERM, pass_on)


class PreemptionHook(HookBase):
    """After any process receives SIGTERM, finish the iteration, write a checkpoint and exit with `EXIT_CODE`.

    Register this hook after the periodic checkpointer and the learning-rate schedule. If SIGTERM arrives during an
    evaluation, the run ends after the next iteration.

    Args:
        checkpointer: writes `model_<iteration>.pth`.
        device: device of the collective by which the processes agree.
    """

    def __init__(self, checkpointer: Any, device: torch.device | str):
        self.checkpointer, self.device = checkpointer, device
        self.asked = False
        self._before: Any = None

    def before_train(self) -> None:
        """Install the signal handler, if this is the main thread."""
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, self._ask)
            _leave_forks_alone()

    def after_step(self) -> None:
        """Write the checkpoint and raise SystemExit, in all processes after the same iteration."""
        if not self._any_asked():
            return
        name = f"model_{self.trainer.iter:07d}"
        if not self.checkpointer.get_checkpoint_file().endswith(f"{name}.pth") or not comm.is_main_process():
            self.checkpointer.save(name, iteration=self.trainer.iter)
        comm.synchronize()  # wait for the complete file: the first process that exits ends the others
        if comm.is_main_process():
            print(f"SIGTERM: checkpoint {name}.pth is written; go on with --resume", file=sys.stderr)
        sys.exit(EXIT_CODE)

    def after_train(self) -> None:
        """Restore the previous signal handler."""
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)
            self._before = None

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True

    def _any_asked(self) -> bool:
        if comm.get_world_size() == 1:
            return self.asked
        vote = torch.tensor(int(self.asked), device=self.device)
        dist.all_reduce(vote, dist.ReduceOp.MAX)
        return bool(vote.item())


@functools.cache
def _leave_forks_alone() -> None:
    """Let SIGTERM end forked processes, such as the workers of an evaluator's pool, as it would without the hook.

    Python drops signals that reach a process while it is being forked, so they wait until the handler is gone.
    """
    sigterm = {signal.SIGTERM}

    def restore_default() -> None:
        if isinstance(getattr(signal.getsignal(signal.SIGTERM), "__self__", None), PreemptionHook):
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, sigterm)

    os.register_at_fork(
        before=lambda: signal.pthread_sigmask(signal.SIG_BLOCK, sigterm),
        after_in_parent=lambda: signal.pthread_sigmask(signal.SIG_UNBLOCK, sigterm),
        after_in_child=restore_default,
    )
