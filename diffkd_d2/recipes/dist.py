"""DIST (arXiv 2205.10536) on class logits. The weight of 2 is that of the authors' classification strategies."""

from ..distillers import DIST
from ..meta_arch.recipe import Setting, on_softmax

classes = Setting(weight=2.0, where=("logits",))
recipe = on_softmax("dist", DIST, published={"classifier": classes})
