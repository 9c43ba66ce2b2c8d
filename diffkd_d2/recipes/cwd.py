"""CWD (arXiv 2011.13256): compare channels as distributions over positions.

Settings: mmrazor's for detectors (all levels of the neck), the authors' for segmentors (logits).
"""

from ..distillers import ChannelWise
from ..meta_arch.recipe import Recipe, Setting, aligned

neck = Setting(weight=10.0, options=dict(tau=1.0))
logits = Setting(weight=3.0, where=("sem_seg",), options=dict(tau=4.0))
published = {"retinanet": neck, "faster_rcnn": neck, "segmentor": logits}
recipe = Recipe("cwd", aligned(ChannelWise), default=neck, published=published)
