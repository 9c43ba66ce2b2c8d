"""Teachers for Cityscapes published by Detectron2's projects, which its zoo does not list."""

from detectron2.config import LazyCall as L

from diffkd_d2.modeling.teacher import load_teacher

from .deeplab import deeplab, deeplab_resnet

ROOT = "https://dl.fbaipublicfiles.com/detectron2"
SEM_SEG, PANOPTIC_SEG = (
    f"{ROOT}/DeepLab/Cityscapes-SemanticSegmentation",
    f"{ROOT}/PanopticDeepLab/Cityscapes-PanopticSegmentation",
)


WEIGHTS = {
    "v3": f"{SEM_SEG}/deeplab_v3_R_103_os16_mg124_poly_90k_bs16/28041665/model_final_0dff1b.pkl",
    "v3_plus": f"{SEM_SEG}/deeplab_v3_plus_R_103_os16_mg124_poly_90k_bs16/28054032/model_final_a8a355.pkl",
    "panoptic": f"{PANOPTIC_SEG}/panoptic_deeplab_R_52_os16_mg124_poly_90k_bs32/model_final_bd324a.pkl",
}


def deeplab_teacher(kind):
    """Return the config of the teacher: R103 for "v3" and "v3_plus", R52 for "panoptic" (projects/*/README.md)."""
    depth, task = (50, "panoptic") if kind == "panoptic" else (101, "sem_seg")
    model = deeplab(kind, deeplab_resnet(depth), f"cityscapes_fine_{task}_train")
    return L(load_teacher)(model=model, weights=WEIGHTS[kind])
