"""Panoptic-DeepLab's training data: label maps, centers and offsets, made from panoptic images."""

from detectron2.config import LazyCall as L

from diffkd_d2.evaluation.third_party import provide_panopticapi

provide_panopticapi()

from detectron2.projects.panoptic_deeplab import PanopticDeeplabDatasetMapper  # noqa: E402
from detectron2.projects.panoptic_deeplab.target_generator import PanopticDeepLabTargetGenerator  # noqa: E402


def panoptic_deeplab_mapper(augmentations, image_format, thing_ids, **options):
    """Return the config of the mapper; `options` override the project's values of the target generator."""
    project = dict(sigma=10, ignore_stuff_in_offset=True, small_instance_area=4096, small_instance_weight=3)
    generator = L(PanopticDeepLabTargetGenerator)(ignore_label=255, thing_ids=thing_ids, **{**project, **options})
    return L(PanopticDeeplabDatasetMapper)(
        augmentations=augmentations, image_format=image_format, panoptic_target_generator=generator
    )
