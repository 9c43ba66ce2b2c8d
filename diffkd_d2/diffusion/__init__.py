"""The parts of DiffKD (Knowledge Diffusion for Distillation, arXiv 2305.15712), and layers for other methods."""

from .autoencoder import AutoEncoder
from .denoiser import Denoiser
from .layers import BatchNorm2d, Conv1x1, NormFactory, channels_last, full_precision, normal_like
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
    "normal_like",
]
