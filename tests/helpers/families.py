"""One small pair of each model family in configs/shapes, and weights for a teacher that nobody has trained."""

from pathlib import Path

import torch
from detectron2.utils.env import seed_all_rng
from two_steps import build_offline

from diffkd_d2.engine.config import load_config

# Config in configs/shapes -> the tasks that its evaluation reports.
DETECTORS = {
    "diffkd_r18": {"bbox"},
    "faster_diffkd_r18": {"bbox"},
    "semantic_diffkd_r18": {"sem_seg"},
    "fcos_diffkd_r18": {"bbox"},
    "cascade_diffkd_r18": {"bbox"},
    "mask_diffkd_r18": {"bbox", "segm"},
    "keypoint_diffkd_r18": {"bbox", "keypoints"},
    "point_rend_diffkd_r18": {"bbox", "segm"},
    "vitdet_diffkd_r18": {"bbox", "segm"},
    "panoptic_diffkd_r18": {"bbox", "segm", "sem_seg", "panoptic_seg"},
    "semantic_diffkd_logits_r18": {"sem_seg"},
    "deeplab_v3_diffkd_r18": {"sem_seg"},
    "deeplab_v3_plus_diffkd_r18": {"sem_seg"},
    "panoptic_deeplab_diffkd_r18": {"panoptic_seg"},
}
CLASSIFIERS = ["cls_student_r10", "cls_kd_r10", "cls_dist_r10", "cls_diffkd_r10"]
QUICK = ["faster_diffkd_r18", "semantic_diffkd_r18"]  # what the default suite resumes; the others are faults


def random_teacher(name: str, path: Path) -> list[str]:
    """Write random weights of a config's teacher; return the overrides that use them, none without a teacher."""
    cfg = load_config(f"configs/shapes/{name}.py", [])
    if not cfg.model.get("teacher"):
        return []
    seed_all_rng(0)
    torch.save({"model": build_offline(cfg.model.teacher.model).state_dict()}, path)
    return [f"model.teacher.weights={path}"]
