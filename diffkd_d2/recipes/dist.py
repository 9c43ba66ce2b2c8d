"""DIST (arXiv 2205.10536) on class logits. The weight of 2 is that of the authors' classification strategies."""

from ..distillers import DIST
from ..meta_arch.auto_points import Recipe, Setting, on_softmax

classes = Setting(weight=2.0, where=("logits",))
recipe = Recipe("dist", on_softmax(DIST), default=Setting(where=("logits",)), published={"classifier": classes})
