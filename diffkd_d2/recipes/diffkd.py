"""DiffKD (arXiv 2305.15712): on feature levels, and as the authors distil classifiers, on the class logits too.

For detectors and segmentors nothing is published; the latent's width and the thinned P2 are docs/performance.md's.
"""

from functools import partial
from typing import Any

from torch import nn

from ..distillers import DiffKD
from ..meta_arch.auto_points import Recipe, Setting
from ..meta_arch.places import LOGITS, Place


def distiller(place: Place, **options: Any) -> "partial[nn.Module] | None":
    """DiffKD with an autoencoder on maps wider than the latent, without one on softmax logits."""
    if place.kind == "head":
        return None
    chosen: dict[str, Any] = dict(student_channels=place.student_channels, teacher_channels=place.teacher_channels)
    if place.kind in LOGITS:
        chosen.update(logits=True)
    elif place.level is None:
        chosen.update(latent_channels=1024)
    else:
        if place.teacher_channels > 64:
            chosen.update(latent_channels=64)
        if place.stride == 4:
            chosen.update(stride=2)
    return partial(DiffKD, **{**chosen, **options})


classes = Setting(where=("features", "logits"))
recipe = Recipe("diffkd", distiller, published={"classifier": classes})
