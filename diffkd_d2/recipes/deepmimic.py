"""Feature mimicking with an adapter about as deep as DiffKD's denoiser: a baseline for DiffKD."""

from functools import partial
from typing import Any

from ..distillers import DeepMimic
from ..meta_arch.places import Place
from ..meta_arch.recipe import Recipe
from .diffkd import every_second_position, latent_channels


def distiller(place: Place, **options: Any) -> "partial[DeepMimic]":
    """Return DeepMimic with the same `latent_channels` as DiffKD."""
    channels: dict[str, Any] = dict(student_channels=place.student_channels, teacher_channels=place.teacher_channels)
    return partial(DeepMimic, **channels, **{"latent_channels": latent_channels(place), **options})


recipe = Recipe("deepmimic", distiller, point=every_second_position)
