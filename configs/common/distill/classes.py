"""Distillation points of classifiers: the last feature map and the class logits."""

from detectron2.config import LazyCall as L

from diffkd_d2.distillers import DIST, KD, DiffKD
from diffkd_d2.meta_arch.distill_point import DistillPoint
from diffkd_d2.modeling.norm import norm_layer


def diffkd_points(student_channels, teacher_channels, num_classes, latent_channels=1024, tau=1.0, weights=(1.0, 1.0)):
    """Return DiffKD on feature maps, with autoencoder, and on logits, as in the authors' kd_loss.py."""
    norm = L(norm_layer)(name="BN")
    feature = L(DiffKD)(
        student_channels=student_channels,
        teacher_channels=teacher_channels,
        latent_channels=latent_channels,
        norm=norm,
    )
    logits = L(DiffKD)(student_channels=num_classes, teacher_channels=num_classes, logits=True, tau=tau, norm=norm)
    return [
        L(DistillPoint)(student="feature_map", teacher="feature_map", weight=weights[0], distiller=feature),
        logit_point(logits, weights[1]),
    ]


def logit_point(distiller, weight=1.0):
    """Return a point on the class logits."""
    return L(DistillPoint)(student="logits", teacher="logits", weight=weight, distiller=distiller)


def kd_points(tau=4.0, weight=1.0):
    """Return KD on the logits (1503.02531)."""
    return [logit_point(L(KD)(tau=tau), weight)]


def dist_points(tau=1.0, weight=2.0):
    """Return DIST on the logits; its weight of 2 is that of the authors' strategies."""
    return [logit_point(L(DIST)(tau=tau), weight)]
