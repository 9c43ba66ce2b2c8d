"""ReviewKD (arXiv 2104.09044): all levels, fused from the coarsest to the finest. Settings: those of the authors."""

from functools import partial
from typing import Any

from ..distillers import Review
from ..meta_arch.places import Place
from ..meta_arch.recipe import Recipe, Setting


def distiller(places: list[Place], **options: Any) -> "partial[Review]":
    """Return one distiller for all levels."""
    channels = dict(student_channels=places[0].student_channels, teacher_channels=places[0].teacher_channels)
    return partial(Review, **channels, num_levels=len(places), **options)


published = {"faster_rcnn": Setting(), "retinanet": Setting()}
recipe = Recipe("review", distiller, published=published, joint=True)
