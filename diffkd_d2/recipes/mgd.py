"""MGD (arXiv 2205.01529): generate the teacher's map from the student's masked map. Settings: those of the authors.

The published weights apply to a sum over an image of 800x1333 pixels; the default takes the mean.
"""

from ..distillers import MaskedGenerative
from ..meta_arch.recipe import Recipe, Setting, aligned

two_stage = Setting(weight=5e-7, levels=("p2", "p3", "p4", "p5"), options=dict(ratio=0.45))
published = {
    "retinanet": Setting(weight=2e-5, options=dict(ratio=0.65)),
    "faster_rcnn": two_stage,
    "mask_rcnn": two_stage,
    "segmentor": Setting(weight=2e-5, where=("stages",), levels=("res5",), options=dict(ratio=0.75)),
    "classifier": Setting(weight=7e-5, options=dict(ratio=0.15)),
}
mean = Setting(options=dict(reduction="mean"))
recipe = Recipe("mgd", aligned(MaskedGenerative), default=mean, published=published)
