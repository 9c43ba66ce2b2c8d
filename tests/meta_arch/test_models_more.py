"""The meta-architectures that Detectron2's zoo configures lazily or keeps in projects, as teacher and as student."""

import importlib.util

import pytest
import torch
from detectors import CLASSES, FPN, MASK, SMALL, batch, box_head, level, mask, rpn, same, sem_seg, train_two_steps
from detectron2.config import LazyCall as L
from detectron2.config import instantiate
from detectron2.layers import ShapeSpec
from detectron2.model_zoo import get_config
from small_models import BACKBONE, DEEPLAB, RCNN_C5, deeplab_v3, fcos

from diffkd_d2.distillers import DiffKD
from diffkd_d2.evaluation.third_party import provide_panopticapi
from diffkd_d2.meta_arch.distill_point import DistillPoint
from diffkd_d2.modeling.yaml_model import yaml_model

ON_MAIN = importlib.util.find_spec("detectron2.modeling.backbone.vit") is not None


def deeplab_v3_plus() -> torch.nn.Module:
    head = ("MODEL.SEM_SEG_HEAD.NAME", "DeepLabV3PlusHead", "MODEL.SEM_SEG_HEAD.IN_FEATURES", ["res2", "res5"])
    features = ("MODEL.RESNETS.OUT_FEATURES", ["res2", "res5"], "MODEL.META_ARCHITECTURE", "SemanticSegmentor")
    return yaml_model(RCNN_C5, [*BACKBONE, *head, *features], extend=[DEEPLAB])


def panoptic_deeplab() -> torch.nn.Module:
    provide_panopticapi()  # its data mapper imports it
    features = ["res2", "res3", "res5"]
    options = [*BACKBONE, "MODEL.META_ARCHITECTURE", "PanopticDeepLab", "MODEL.RESNETS.OUT_FEATURES", features]
    for head, name in (("SEM_SEG", "SemSeg"), ("INS_EMBED", "InsEmbed")):
        prefix = f"MODEL.{head}_HEAD"
        options += [f"{prefix}.NAME", f"PanopticDeepLab{name}Head", f"{prefix}.IN_FEATURES", features]
        options += [f"{prefix}.PROJECT_FEATURES", features[:2], f"{prefix}.PROJECT_CHANNELS", [8, 8]]
        options += [f"{prefix}.HEAD_CHANNELS", 16, f"{prefix}.CONVS_DIM", 16, f"{prefix}.ASPP_CHANNELS", 16]
        options += [f"{prefix}.NORM", "BN", f"{prefix}.COMMON_STRIDE", 4, f"{prefix}.ASPP_DILATIONS", [1, 2, 3]]
    extend = "detectron2.projects.panoptic_deeplab.add_panoptic_deeplab_config"
    return yaml_model(RCNN_C5, options, extend=[extend])


def point_rend() -> torch.nn.Module:
    head = "MODEL.ROI_MASK_HEAD"
    options = [*SMALL, "MODEL.FPN.OUT_CHANNELS", FPN, "MODEL.ROI_HEADS.NUM_CLASSES", CLASSES]
    options += [f"{head}.POOLER_TYPE", "", f"{head}.NAME", "PointRendMaskHead", f"{head}.FC_DIM", 32]
    options += [f"{head}.NUM_FC", 1, f"{head}.OUTPUT_SIDE_RESOLUTION", 7, f"{head}.IN_FEATURES", ["p2"]]
    options += [f"{head}.POINT_HEAD_ON", True, "MODEL.POINT_HEAD.NUM_CLASSES", CLASSES]
    options += ["MODEL.POINT_HEAD.FC_DIM", 16, "MODEL.POINT_HEAD.IN_FEATURES", ["p2"]]
    return yaml_model(MASK, options, extend=["detectron2.projects.point_rend.add_pointrend_config"])


def vitdet() -> torch.nn.Module:
    model = get_config("common/models/mask_rcnn_vitdet.py").model
    model.backbone.net.update(img_size=96, embed_dim=48, depth=2, num_heads=2, window_size=3, window_block_indexes=[0])
    model.backbone.update(out_channels=FPN, square_pad=96)
    model.proposal_generator.head.in_channels = FPN
    model.roi_heads.num_classes, model.roi_heads.batch_size_per_image = CLASSES, 16
    for head in (model.roi_heads.box_head, model.roi_heads.mask_head):
        size = 7 if head is model.roi_heads.box_head else 14
        head.input_shape, head.conv_dims = ShapeSpec(channels=FPN, height=size, width=size), [FPN, FPN]
    model.roi_heads.box_head.fc_dims, model.roi_heads.box_predictor.input_shape = [32], ShapeSpec(channels=32)
    return instantiate(model)


def panoptic_batch() -> list[dict]:
    inputs = batch()
    for x in inputs:
        height, width = x["image"].shape[1:]
        x.update(sem_seg_weights=torch.ones(height, width), center=torch.rand(height, width))
        x.update(center_weights=torch.ones(height, width), offset=torch.rand(2, height, width))
        x.update(offset_weights=torch.ones(height, width))
    return inputs


def res5() -> DistillPoint:
    return DistillPoint("backbone", "backbone", DiffKD(128, 128, latent_channels=8), key="res5")


MODELS = {
    "deeplab_v3": (deeplab_v3, lambda: [res5(), sem_seg()]),
    "deeplab_v3_plus": (deeplab_v3_plus, lambda: [same("backbone", 16, "res2"), res5(), sem_seg()]),
    "panoptic_deeplab": (
        panoptic_deeplab,
        lambda: [
            *(res5(), sem_seg()),
            same("ins_embed_head.center_predictor", 1, name="center"),
            same("ins_embed_head.offset_predictor", 2, name="offset"),
        ],
    ),
    "point_rend": (point_rend, lambda: [level("p2"), level("p4"), rpn(), *box_head()]),
    "fcos": (
        fcos,
        lambda: [
            *(level("p3"), level("p7")),
            same("head", CLASSES, (0, 1), "cls"),
            same("head", 4, (1, 1), "box"),
            same("head", 1, (2, 1), "quality"),
        ],
    ),
    "vitdet": (vitdet, lambda: [level("p2"), level("p5"), *box_head(), mask()]),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_the_same_model_twice(name):
    if name == "vitdet":
        pytest.importorskip("timm", reason="ViTDet needs timm")
        if not ON_MAIN:
            pytest.skip("Detectron2 v0.6 has no ViTDet")
    build, points = MODELS[name]
    student = build()
    train_two_steps(student, build(), points(), panoptic_batch if name == "panoptic_deeplab" else batch)
    assert build().load_state_dict(student.state_dict())


def test_lazy_student_with_yaml_teacher():
    student = instantiate(L(fcos)())
    teacher = yaml_model("COCO-Detection/retinanet_R_50_FPN_1x.yaml", [*SMALL, "MODEL.FPN.OUT_CHANNELS", FPN])
    train_two_steps(student, teacher, [level("p3"), level("p7")])
