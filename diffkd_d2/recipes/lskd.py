"""KD on standardised logits (arXiv 2403.01427). Setting: that of the authors for CIFAR-100."""

from ..distillers import KD
from ..meta_arch.recipe import Setting, on_softmax

images = Setting(weight=9.0, where=("logits",), options=dict(tau=2.0, standardize=True))
default = Setting(where=("logits",), options=dict(standardize=True))
recipe = on_softmax("lskd", KD, default=default, published={"classifier": images})
