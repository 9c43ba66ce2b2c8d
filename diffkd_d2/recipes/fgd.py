"""FGD (arXiv 2111.11837): focal and global distillation with ground-truth boxes. Settings: those of the authors."""

from ..distillers import FocalGlobal
from ..meta_arch.recipe import Recipe, Setting, aligned

NAMES = ("foreground_weight", "background_weight", "attention_weight", "relation_weight")


def weights(*values: float, **more: float) -> dict[str, float]:
    """Return the weights of the four terms as options."""
    return dict(zip(NAMES, values, strict=True), **more)


two_stage = Setting(levels=("p2", "p3", "p4", "p5"), options=weights(5e-5, 2.5e-5, 5e-5, 5e-7))
published = {
    "retinanet": Setting(options=weights(1e-3, 5e-4, 5e-4, 5e-6)),
    "fcos": Setting(options=weights(1.6e-3, 8e-4, 8e-4, 8e-6, temperature=0.8)),
    "faster_rcnn": two_stage,
    "mask_rcnn": two_stage,
    "cascade_rcnn": two_stage,
}
recipe = Recipe("fgd", aligned(FocalGlobal), published=published, instead="take mimic, pkd or cwd")
