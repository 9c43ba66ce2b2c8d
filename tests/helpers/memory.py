"""What a forward pass keeps for its backward pass."""

import torch


def saved_bytes(function) -> int:
    """Bytes of the storages that a forward pass keeps for its backward pass."""
    storages = {}

    def keep(x):
        storages[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        kept.append(x)
        return x

    kept = []
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        function()
    return sum(storages.values())
