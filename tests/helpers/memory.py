"""What a forward pass keeps for its backward pass."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor


def saved_bytes(function: Callable[[], object], without: Iterable[Tensor] = ()) -> int:
    """Bytes of the storages that a forward pass keeps for its backward pass, except those of the tensors `without`."""
    storages = {}

    def keep(x):
        storages[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        kept.append(x)
        return x

    kept = []
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        function()
    for x in without:
        storages.pop(x.untyped_storage().data_ptr(), None)
    return sum(storages.values())
