"""DiffKD (arXiv 2305.15712): on feature levels, and as the authors distil classifiers, on the class logits too.

For detectors and segmentors nothing is published; the latent's width and the thinned P2 are docs/performance.md's.
"""

from functools import partial
from typing import Any

from ..distillers import DiffKD
from ..meta_arch.auto_points import Recipe, Setting
from ..meta_arch.places import LOGITS, Place


def latent_channels(place: Place) -> int | None:
    """Return the authors' width for a classifier's map, 64 for wider levels of a pyramid, None for narrow ones."""
    if place.level is None:
        return 1024
    return 64 if place.teacher_channels > 64 else None


def distiller(place: Place, **options: Any) -> "partial[DiffKD] | None":
    """Return DiffKD with an autoencoder on wide maps, without one on softmax logits; None on a dense head."""
    if place.kind == "head":
        return None
    channels = dict(student_channels=place.student_channels, teacher_channels=place.teacher_channels)
    kind = dict(logits=True) if place.kind in LOGITS else dict(latent_channels=latent_channels(place))
    return partial(DiffKD, **{**channels, **kind, **options})


def every_second_position(place: Place) -> dict[str, Any]:
    """Thin the finest level of a pyramid, which holds three quarters of the positions."""
    return {"subsample": 2} if place.stride == 4 and place.level else {}


classes = Setting(where=("features", "logits"))
recipe = Recipe("diffkd", distiller, published={"classifier": classes}, point=every_second_position)
