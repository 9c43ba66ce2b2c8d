"""Distillation methods: `forward(student, teacher, mask) -> dict` of losses (`loss_...`) and metrics."""

from .diffkd import DiffKD
from .mimic import Mimic

__all__ = ["DiffKD", "Mimic"]
