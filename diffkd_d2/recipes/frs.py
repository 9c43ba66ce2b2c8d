"""FRS (NeurIPS 2021): mimicking weighted by the teacher's class scores (for two-stage detectors, the RPN's objectness).

The authors use a warm-up of 500 iterations: `distill.warmup_iters=500`.
"""

from ..distillers import ScoreMimic
from ..meta_arch.recipe import Recipe, Setting, aligned

instead = "take mimic, pkd or cwd"
published = {"retinanet": Setting(weight=0.005), "fcos": Setting(weight=0.01), "faster_rcnn": Setting(weight=0.002)}
recipe = Recipe(
    "frs", aligned(ScoreMimic), default=Setting(weight=0.005), published=published, scores=True, instead=instead
)
