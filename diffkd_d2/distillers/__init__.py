"""Distillation methods: `forward(student, teacher, mask) -> dict` of losses (`loss_...`) and metrics."""

from .channel_wise import ChannelWise
from .diffkd import DiffKD
from .dist import DIST
from .kd import KD
from .masked_generative import MaskedGenerative
from .mimic import Mimic
from .pearson import Pearson
from .quality_focal import QualityFocalKD

__all__ = ["DIST", "KD", "ChannelWise", "DiffKD", "MaskedGenerative", "Mimic", "Pearson", "QualityFocalKD"]
