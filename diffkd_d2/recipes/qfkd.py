"""The quality-focal distance of BCKD (arXiv 2308.14286) and CrossKD on the sigmoid logits of a dense head."""

from functools import partial

from ..distillers import QualityFocalKD
from ..meta_arch.auto_points import Recipe, Setting

# All levels at once: the normalizer counts the positives of all.
recipe = Recipe(
    "qfkd",
    lambda places, **options: partial(QualityFocalKD, **options),
    default=Setting(where=("head",)),
    joint=True,
)
