"""SIGTERM from a scheduler: write a checkpoint after the current step, then exit."""

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
        self.asked, self._process = False, os.getpid()
        self._before: Any = None

    def before_train(self) -> None:
        """Install the signal handler, if this is the main thread."""
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, self._ask)

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
        if os.getpid() != self._process:
            # A forked worker, such as one of an evaluator's pool, ends as it would without this hook.
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        self.asked = True

    def _any_asked(self) -> bool:
        if comm.get_world_size() == 1:
            return self.asked
        vote = torch.tensor(int(self.asked), device=self.device)
        dist.all_reduce(vote, dist.ReduceOp.MAX)
        return bool(vote.item())
