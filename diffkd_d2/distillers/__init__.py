"""Distillation methods: `forward(student, teacher, mask) -> dict` of losses (`loss_...`) and metrics."""

from .channel_wise import ChannelWise
from .cross_attention import CrossAttention
from .deep_mimic import DeepMimic
from .diffkd import DiffKD
from .dist import DIST
from .dkd import DKD
from .focal_global import FocalGlobal
from .kd import KD
from .masked_generative import MaskedGenerative
from .mimic import Mimic
from .pairwise import Pairwise
from .pearson import Pearson
from .quality_focal import QualityFocalKD
from .review import Review
from .score_mimic import ScoreMimic

__all__ = [
    "DIST",
    "DKD",
    "KD",
    "ChannelWise",
    "CrossAttention",
    "DeepMimic",
    "DiffKD",
    "FocalGlobal",
    "MaskedGenerative",
    "Mimic",
    "Pairwise",
    "Pearson",
    "QualityFocalKD",
    "Review",
    "ScoreMimic",
]
