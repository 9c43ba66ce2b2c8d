"""DiffKD on P2 to P5: Semantic FPN on timm's ResNet-18 from ResNet-101; train teacher_semantic_fpn_r101.py first."""

from detectron2.config import LazyCall as L

from diffkd_d2.meta_arch.distilled_model import DistilledModel

from ..common.data.cityscapes_sem_seg import dataloader
from ..common.distill.fpn import diffkd_points
from ..common.models.timm_fpn import timm_semantic_fpn
from ..common.strategies.cityscapes import distill, lr_multiplier, optimizer, train
from ..common.teacher import teacher_trained_by

model = L(DistilledModel)(
    student=timm_semantic_fpn("resnet18.tv_in1k", 19),
    teacher=teacher_trained_by("teacher_semantic_fpn_r101.py", input_format="RGB"),
    points=diffkd_points(["p2", "p3", "p4", "p5"]),
    shared_distiller=False,
)
train.output_dir = "output/cityscapes/diffkd_semantic_fpn_r18_from_r101"
