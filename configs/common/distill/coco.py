"""DiffKD on the FPN levels of images of COCO's size."""

from .fpn import diffkd_points


def coco_points(levels=("p2", "p3", "p4", "p5", "p6")):
    """Return DiffKD points; the latent's width and P2's stride keep the step at 1.15 of its floor (performance.md)."""
    return diffkd_points(levels, latent_channels=64, strides={"p2": 2})
