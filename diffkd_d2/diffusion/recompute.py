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
    norms = [(m, m.momentum, m.num_batches_tracked) for m in module.modules() if isinstance(m, _BatchNorm)]
    for norm, _, _ in norms:
        # Not track_running_stats: the pass would save other tensors than the first one did.
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, momentum, tracked in norms:
            norm.momentum, norm.num_batches_tracked = momentum, tracked
