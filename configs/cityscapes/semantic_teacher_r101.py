"""Semantic FPN on timm's ResNet-101, a teacher to train yourself: Detectron2 publishes none for Cityscapes.

mIoU: not measured. Crops and schedule are those of Detectron2's DeepLab.
"""

from detectron2.config import LazyCall as L

from diffkd_d2.meta_arch.distilled_model import DistilledModel

from ..common.models.semantic_fpn import semantic_fpn, semantic_fpn_head
from ..common.models.timm_fpn import timm_fpn, timm_pixel_stats
from .diffkd_deeplab_v3_r18 import dataloader, distill, lr_multiplier, optimizer, train

NAME = "resnet101.tv_in1k"
student = semantic_fpn(timm_fpn(NAME), semantic_fpn_head(256, 19), *timm_pixel_stats(NAME))
model = L(DistilledModel)(student=student, points=[])
train.output_dir = "output/cityscapes/semantic_teacher_r101"
