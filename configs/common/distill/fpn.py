"""Distillation points on the levels of a feature pyramid."""

import copy

from detectron2.config import LazyCall as L

from diffkd_d2.distillers import DiffKD, Mimic
from diffkd_d2.meta_arch.distill_point import DistillPoint
from diffkd_d2.modeling.norm import norm_layer


def diffkd_points(
    levels, student_channels=256, teacher_channels=256, weight=1.0, latent_channels=None, subsample=None, **options
):
    """Return DiffKD on the outputs of both backbones, one point per level.

    `subsample` maps levels to the points' `subsample`, such as {"p2": 2}; `options` are DiffKD's for all levels.
    """
    return [
        L(DistillPoint)(
            student="backbone",
            teacher="backbone",
            key=level,
            weight=weight,
            subsample=(subsample or {}).get(level, 1),
            distiller=L(DiffKD)(
                student_channels=student_channels,
                teacher_channels=teacher_channels,
                latent_channels=latent_channels,
                norm=L(norm_layer)(name="BN"),
                **options,
            ),
        )
        for level in levels
    ]


def feature_points(levels, distiller, weight=1.0):
    """Return a point with a copy of `distiller` on each level."""
    return [
        L(DistillPoint)(
            student="backbone", teacher="backbone", key=level, weight=weight, distiller=copy.deepcopy(distiller)
        )
        for level in levels
    ]


def mimic_points(levels, student_channels=256, teacher_channels=256, weight=1.0):
    """Return points for feature mimicking on each level."""
    distiller = L(Mimic)(student_channels=student_channels, teacher_channels=teacher_channels)
    return feature_points(levels, distiller, weight)
