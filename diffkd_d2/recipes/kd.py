"""Hinton's KD (arXiv 1503.02531) on the class logits of boxes, label maps or images."""

from ..distillers import KD
from ..meta_arch.auto_points import Recipe, Setting, on_softmax

recipe = Recipe("kd", on_softmax(KD), default=Setting(where=("logits",)))
