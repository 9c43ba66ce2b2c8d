"""CanKD (arXiv 2511.21503): the student attends to the teacher's map. Setting: that of the authors, on the neck."""

from ..distillers import CrossAttention
from ..meta_arch.recipe import Recipe, Setting, aligned

neck = Setting(weight=10.0)
published = {"faster_rcnn": neck, "retinanet": neck, "fcos": neck}
recipe = Recipe("cankd", aligned(CrossAttention), default=neck, published=published)
