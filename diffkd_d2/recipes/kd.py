"""Hinton's KD (arXiv 1503.02531) on the class logits of boxes, label maps or images."""

from ..distillers import KD
from ..meta_arch.recipe import on_softmax

recipe = on_softmax("kd", KD)
