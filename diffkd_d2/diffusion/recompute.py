"""Activation recomputation that leaves the statistics of batch norm alone."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


def recompute(module: nn.Module, function: Callable[..., Tensor], *args: Tensor | int) -> Tensor:
    """Return `function(*args)`, keeping no activations: they are computed again in the backward pass.

    Args:
        module: what `function` runs; its batch norms update their running statistics in the first pass alone.
        function: draws no random numbers.
        args: what it is called with.
    """

    def contexts() -> tuple[AbstractContextManager, AbstractContextManager]:
        return nullcontext(), _statistics_kept(module)

    return checkpoint(function, *args, use_reentrant=False, preserve_rng_state=False, context_fn=contexts)


@contextmanager
def _statistics_kept(module: nn.Module) -> Iterator[None]:
    kept = [(m, dict(m.named_buffers(recurse=False))) for m in module.modules() if isinstance(m, _BatchNorm)]
    for norm, buffers in kept:
        for name, buffer in buffers.items():
            setattr(norm, name, buffer.clone())
    try:
        yield
    finally:
        for norm, buffers in kept:
            for name, buffer in buffers.items():
                setattr(norm, name, buffer)
