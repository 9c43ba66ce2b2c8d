"""PKD (arXiv 2207.02039): Pearson correlation of feature levels. Settings: mmrazor's configs."""

from ..distillers import Pearson
from ..meta_arch.recipe import Recipe, Setting, aligned

published = {
    "faster_rcnn": Setting(weight=6.0, levels=("p2", "p3", "p4", "p5")),
    "retinanet": Setting(weight=10.0, levels=("p3", "p4", "p5", "p6")),
}
recipe = Recipe("pkd", aligned(Pearson), default=Setting(weight=6.0), published=published)
