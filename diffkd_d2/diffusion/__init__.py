"""The parts of DiffKD (Knowledge Diffusion for Distillation, arXiv 2305.15712), and layers for other methods."""

from .autoencoder import AutoEncoder
from .batch_norm import BatchNorm2d
from .denoiser import Denoiser
from .layers import Conv1x1, NormFactory, full_precision
from .maps import channels_last
from .noise_matcher import NoiseMatcher
from .schedule import NoiseSchedule
from .standardize import Standardize

__all__ = [
    "AutoEncoder",
    "BatchNorm2d",
    "Conv1x1",
    "Denoiser",
    "NoiseMatcher",
    "NoiseSchedule",
    "NormFactory",
    "Standardize",
    "channels_last",
    "full_precision",
]
