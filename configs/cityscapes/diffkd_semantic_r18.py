"""DiffKD on P2 to P5: Semantic FPN on timm's ResNet-18 from ResNet-101; train semantic_teacher_r101.py first.

mIoU of teacher, student alone and with DiffKD: not measured.
"""

from detectron2.config import LazyCall as L

from diffkd_d2.modeling.teacher import load_teacher

from ..common.distill.fpn import diffkd_points
from ..common.models.timm_fpn import timm_fpn
from .semantic_teacher_r101 import dataloader, distill, lr_multiplier, model, optimizer, train
from .semantic_teacher_r101 import model as teacher

model.teacher = L(load_teacher)(
    model=teacher.student, weights="output/cityscapes/semantic_teacher_r101/model_final.pth", input_format="RGB"
)
model.student = {**teacher.student, "backbone": timm_fpn("resnet18.tv_in1k")}
model.points = diffkd_points(["p2", "p3", "p4", "p5"])
train.output_dir = "output/cityscapes/diffkd_semantic_r18"
