"""Distillation methods: `forward(student, teacher, mask) -> dict` of losses (`loss_...`) and metrics."""

from .diffkd import DiffKD
from .dist import DIST
from .kd import KD
from .mimic import Mimic

__all__ = ["DIST", "KD", "DiffKD", "Mimic"]
