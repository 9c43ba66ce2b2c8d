"""Inputs that the golden values of reference implementations were made from, and the comparison."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

SHAPE = (2, 8, 6, 10)


def pair(seed: int = 0, shape: Sequence[int] = SHAPE) -> tuple[Tensor, Tensor]:
    """Return student (with gradient) and teacher, standard normal in float64."""
    generator = torch.Generator().manual_seed(seed)
    student, teacher = (torch.randn(*shape, generator=generator, dtype=torch.float64) for _ in range(2))
    return student.requires_grad_(), teacher


def rows() -> tuple[Tensor, Tensor, Tensor]:
    """Return logits of student and teacher (7, 5) and the classes (7,)."""
    return *pair(5, (7, 5)), torch.tensor([0, 1, 2, 3, 4, 4, 4])


def fill_with_ramps(parameters: Sequence[nn.Parameter]) -> None:
    """Set parameter number k to 0.1 sin(1 + k + i) over its flat index i."""
    with torch.no_grad():
        for k, parameter in enumerate(parameters):
            values = 0.1 * torch.sin(1 + k + torch.arange(parameter.numel(), dtype=torch.float64))
            parameter.copy_(values.view_as(parameter))


def check(loss: Tensor, student: Tensor, expected: tuple[float, float, float]) -> None:
    """Assert loss, norm and first entry of the gradient in the student's feature, each to 1e-9 of its value."""
    (gradient,) = torch.autograd.grad(loss, student, retain_graph=True)
    found = (loss.item(), gradient.norm().item(), gradient.flatten()[0].item())
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-15)
