"""One small pair of each model family of a small size, and weights for a teacher that nobody has trained."""

from pathlib import Path

import torch
from detectron2.utils.env import seed_all_rng
from two_steps import build_offline

from diffkd_d2.engine.config import load_config

# Config without its suffix -> the tasks that its evaluation reports.
DETECTORS = {
    "configs/shapes/diffkd_retinanet_r18": {"bbox"},
    "configs/shapes/diffkd_faster_rcnn_r18_from_retinanet": {"bbox"},
    "configs/shapes/diffkd_semantic_fpn_r18": {"sem_seg"},
    "tests/configs_for_tests/diffkd_fcos_r18": {"bbox"},
    "tests/configs_for_tests/diffkd_cascade_rcnn_r18": {"bbox"},
    "configs/shapes/diffkd_mask_rcnn_r18_from_retinanet": {"bbox", "segm"},
    "tests/configs_for_tests/diffkd_keypoint_rcnn_r18": {"bbox", "keypoints"},
    "tests/configs_for_tests/diffkd_point_rend_r18": {"bbox", "segm"},
    "tests/configs_for_tests/diffkd_mask_rcnn_r18_from_vitdet": {"bbox", "segm"},
    "configs/shapes/diffkd_panoptic_fpn_r18": {"bbox", "segm", "sem_seg", "panoptic_seg"},
    "tests/configs_for_tests/diffkd_semantic_fpn_logits_r18": {"sem_seg"},
    "tests/configs_for_tests/diffkd_deeplab_v3_r18": {"sem_seg"},
    "tests/configs_for_tests/diffkd_deeplab_v3_plus_r18": {"sem_seg"},
    "tests/configs_for_tests/diffkd_panoptic_deeplab_r18": {"panoptic_seg"},
}
CLASSIFIERS = [f"configs/shapes_cls/{name}_resnet10" for name in ("alone", "kd", "dist", "diffkd")]
# What the default suite resumes; the others are faults.
QUICK = ["configs/shapes/diffkd_faster_rcnn_r18_from_retinanet", "configs/shapes/diffkd_semantic_fpn_r18"]


def random_teacher(name: str, path: Path) -> list[str]:
    """Write random weights of a config's teacher; return the overrides that use them, none without a teacher."""
    cfg = load_config(f"{name}.py", [])
    if not cfg.model.get("teacher"):
        return []
    seed_all_rng(0)
    torch.save({"model": build_offline(cfg.model.teacher.model).state_dict()}, path)
    return [f"model.teacher.weights={path}"]
