"""Activation checkpointing that updates the statistics of batch norms only once."""

from contextlib import AbstractContextManager, nullcontext

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


def recompute(module: nn.Module, *args: Tensor) -> Tensor:
    """Return `module(*args)` without storing activations; the backward pass computes them again.

    Args:
        module: must not draw random numbers. Its batch norms update their running statistics in the first pass only.
        args: its inputs.
    """

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), StatisticsKept(module)

    return checkpoint(module, *args, use_reentrant=False, preserve_rng_state=False, context_fn=contexts)


class StatisticsKept(AbstractContextManager[None]):
    """Context in which the batch norms of a module use copies of their statistics.

    Each backward pass enters it again; the gradient report runs several passes through one graph.

    Args:
        module: module with the batch norms.
    """

    def __init__(self, module: nn.Module):
        self.norms = [m for m in module.modules() if isinstance(m, _BatchNorm)]
        self._kept: list[dict[str, Tensor]] = []

    def __enter__(self) -> None:
        self._kept = [dict(norm.named_buffers(recurse=False)) for norm in self.norms]
        for norm, buffers in zip(self.norms, self._kept, strict=True):
            for name, buffer in buffers.items():
                setattr(norm, name, buffer.clone())

    def __exit__(self, *_: object) -> None:
        for norm, buffers in zip(self.norms, self._kept, strict=True):
            for name, buffer in buffers.items():
                setattr(norm, name, buffer)
