"""DiffKD (arXiv 2305.15712): on feature levels and, for classifiers, on the class logits, as the authors do.

No settings are published for detectors and segmentors; docs/performance.md explains `latent_channels` and the
subsampled P2.
"""

from functools import partial
from typing import Any

from ..distillers import DiffKD
from ..meta_arch.places import LOGITS, Place
from ..meta_arch.recipe import Recipe, Setting


def latent_channels(place: Place) -> int | None:
    """Return the authors' 1024 for a classifier's feature map; for other maps 64, or None for at most 64 channels."""
    if place.student == "feature_map":
        return 1024
    return 64 if place.teacher_channels > 64 else None


def distiller(place: Place, **options: Any) -> "partial[DiffKD] | None":
    """Return DiffKD, with an autoencoder for wide maps and none for softmax logits; return None for a dense head."""
    if place.kind == "head":
        return None
    channels = dict(student_channels=place.student_channels, teacher_channels=place.teacher_channels)
    kind = dict(logits=True) if place.kind in LOGITS else dict(latent_channels=latent_channels(place))
    return partial(DiffKD, **{**channels, **kind, **options})


def every_second_position(place: Place) -> dict[str, Any]:
    """Subsample the finest level of a pyramid, which has three quarters of all positions."""
    return {"subsample": 2} if place.stride == 4 and place.level else {}


classes = Setting(where=("features", "logits"))
recipe = Recipe("diffkd", distiller, published={"classifier": classes}, point=every_second_position)
