"""The quality-focal distance of BCKD (arXiv 2308.14286) and CrossKD for the sigmoid logits of a dense head."""

from functools import partial
from typing import Any

from ..distillers import QualityFocalKD
from ..meta_arch.places import Place
from ..meta_arch.recipe import Recipe, Setting


def distiller(places: list[Place], **options: Any) -> "partial[QualityFocalKD] | None":
    """Return one distiller for all levels, because its normalizer counts the positives of all levels."""
    return partial(QualityFocalKD, **options) if all(place.kind == "head" for place in places) else None


instead = "take a method on features such as diffkd or mimic; kd, dist, dkd and lskd are for softmax logits"
recipe = Recipe("qfkd", distiller, default=Setting(where=("head",)), joint=True, instead=instead)
