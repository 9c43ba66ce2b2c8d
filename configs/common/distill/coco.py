"""DiffKD on the FPN levels of images of COCO's size."""

from .fpn import diffkd_points


def coco_points(levels=("p2", "p3", "p4", "p5", "p6")):
    """Return DiffKD points; the latent and the subsampling of P2 keep a step at 1.15 of its floor (performance.md)."""
    return diffkd_points(levels, latent_channels=64, subsample={"p2": 2})
