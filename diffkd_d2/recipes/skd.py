"""Pair-wise structured KD (SKD, CVPR 2019): similarities of positions within an image."""

from functools import partial

from ..distillers import Pairwise
from ..meta_arch.recipe import Recipe

recipe = Recipe("skd", lambda place, **options: partial(Pairwise, **options))
