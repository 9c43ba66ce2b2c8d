"""Train a teacher for Cityscapes, since Detectron2 publishes none: Semantic FPN on timm's ResNet-101."""

from detectron2.config import LazyCall as L

from diffkd_d2.meta_arch.distilled_model import DistilledModel

from ..common.data.cityscapes_sem_seg import dataloader
from ..common.models.timm_fpn import timm_semantic_fpn
from ..common.strategies.cityscapes import distill, lr_multiplier, optimizer, train

model = L(DistilledModel)(student=timm_semantic_fpn("resnet101.tv_in1k", 19), points=[], shared_distiller=False)
train.output_dir = "output/cityscapes/teacher_semantic_fpn_r101"
