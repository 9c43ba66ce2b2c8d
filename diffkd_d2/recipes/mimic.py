"""Feature mimicking: mean squared error after a 1x1 convolution (FitNets, arXiv 1412.6550)."""

from ..distillers import Mimic
from ..meta_arch.recipe import Recipe, aligned

recipe = Recipe("mimic", aligned(Mimic))
