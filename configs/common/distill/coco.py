"""DiffKD on FPN levels for images of COCO's size."""

from .fpn import diffkd_points


def coco_points(levels=("p2", "p3", "p4", "p5", "p6")):
    """Return DiffKD points; a narrow latent and subsampling of P2 keep the step cheap (docs/performance.md)."""
    return diffkd_points(levels, latent_channels=64, subsample={"p2": 2})
