"""The channels and strides of the maps that a module returns, declared or found by running the model once."""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..errors import UserError
from .capture import capture, find_module

PROBE_SIZE = 224


class Shape(NamedTuple):
    """Channels of a map, and pixels per position; None if it is not a map."""

    channels: int
    stride: int | None


def output_shapes(model: nn.Module, path: str) -> dict[str | int | None, Shape]:
    """Return the shape of each map (N, C, H, W) that a module returns, by name or index; a single tensor's is None.

    A module that does not declare its shapes (`output_shape()`) is run on one batch.

    Raises:
        UserError: if it does not declare them and the model cannot be run on an image alone.
    """
    declared = getattr(find_module(model, path), "output_shape", None)
    shapes = declared() if callable(declared) else {}
    if shapes and all(s.channels and s.stride for s in shapes.values()):
        return {name: Shape(s.channels, s.stride) for name, s in shapes.items()}
    output = _probe(model, path)
    outputs = dict(enumerate(output)) if isinstance(output, list | tuple) else output
    outputs = outputs if isinstance(outputs, dict) else {None: output}
    return {name: _shape(x) for name, x in outputs.items() if isinstance(x, Tensor) and x.dim() in (2, 4)}


def _probe(model: nn.Module, path: str) -> Any:
    """Run the model in eval mode on two grey images, up to the module; return what the module returned."""
    device = next(model.parameters()).device
    image = torch.full((3, PROBE_SIZE, PROBE_SIZE), 127, dtype=torch.uint8, device=device)
    batch = [{"image": image, "height": PROBE_SIZE, "width": PROBE_SIZE}] * 2
    modes = [(module, module.training) for module in model.modules()]
    try:
        with torch.no_grad(), torch.random.fork_rng(), capture(model.eval(), [path], stop=True) as outputs:
            model(batch)
    except UserError:
        raise
    except Exception as error:  # a model may raise anything
        name = type(model).__name__
        raise UserError(f"{name} does not run on an image alone ({error}): list model.points") from error
    finally:
        for module, mode in modes:
            module.training = mode
    return outputs[path]


def _shape(output: Tensor) -> Shape:
    if output.dim() == 2:
        return Shape(output.shape[1], None)
    return Shape(output.shape[1], 2 ** math.ceil(math.log2(PROBE_SIZE / output.shape[2]) - 0.1))
