"""CWD (arXiv 2011.13256): each channel as a distribution over positions.

Settings: for one-stage detectors mmrazor's (all levels of the neck), for segmentors the authors' on the logits.
"""

from ..distillers import ChannelWise
from ..meta_arch.auto_points import Recipe, Setting, aligned

neck = Setting(weight=10.0, options=dict(tau=1.0))
logits = Setting(weight=3.0, where=("sem_seg",), options=dict(tau=4.0))
recipe = Recipe(
    "cwd", aligned(ChannelWise), default=neck, published={"retinanet": neck, "fcos": neck, "segmentor": logits}
)
