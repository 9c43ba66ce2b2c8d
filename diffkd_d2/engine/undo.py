"""Undo the side effects of a training step."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from detectron2.modeling.meta_arch.dense_detector import DenseDetector

from ..meta_arch.distilled_model import DistilledModel


@contextmanager
def unchanged(model: DistilledModel) -> Iterator[None]:
    """When the block ends, restore what a training step changes, except the optimizer's state.

    This covers the random generators, the buffers, the metrics, and the running normalizer of Detectron2's dense
    detectors, which is a plain attribute. Gradients are set to None.
    """
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    normalizers = [(m, vars(m).get("loss_normalizer")) for m in model.modules() if isinstance(m, DenseDetector)]
    states = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng():
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)
        for module, normalizer in normalizers:
            vars(module).pop("loss_normalizer", None)
            if normalizer is not None:
                module.loss_normalizer = normalizer
        for parameter in model.parameters():
            parameter.grad = None
        model.metrics = {}
