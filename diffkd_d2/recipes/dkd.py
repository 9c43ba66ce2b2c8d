"""DKD (arXiv 2203.08679) on class logits. Settings: those of the authors for Faster R-CNN and ImageNet."""

from ..distillers import DKD
from ..meta_arch.recipe import Setting, on_softmax

boxes = Setting(where=("roi",), options=dict(alpha=1.0, beta=0.25, tau=1.0))
images = Setting(where=("logits",), options=dict(alpha=1.0, beta=0.5, tau=1.0))
recipe = on_softmax("dkd", DKD, published={"faster_rcnn": boxes, "classifier": images})
