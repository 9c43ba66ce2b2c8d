"""The quality-focal distance of BCKD (arXiv 2308.14286) and CrossKD for the sigmoid logits of a dense head."""

from functools import partial

from ..distillers import QualityFocalKD
from ..meta_arch.auto_points import Recipe, Setting

# One distiller for all levels, because the normalizer counts the positives of all levels.
recipe = Recipe(
    "qfkd",
    lambda places, **options: partial(QualityFocalKD, **options),
    default=Setting(where=("head",)),
    joint=True,
)
