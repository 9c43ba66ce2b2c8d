"""The parts of DiffKD (Knowledge Diffusion for Distillation, arXiv 2305.15712)."""

from .autoencoder import AutoEncoder
from .denoiser import Denoiser
from .noise_matcher import NoiseMatcher
from .schedule import NoiseSchedule
from .standardize import Standardize

__all__ = ["AutoEncoder", "Denoiser", "NoiseMatcher", "NoiseSchedule", "Standardize"]
