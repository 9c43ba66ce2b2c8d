"""Mask R-CNN on a plain ViT of four blocks; needs Detectron2's main branch."""

from ...configs.common.data.shapes_mask import dataloader
from ...configs.shapes.teacher_panoptic_fpn_r50 import distill, lr_multiplier, model, optimizer, train
from .common.slim_vitdet import slim_vitdet

model.student = slim_vitdet(embed_dim=192, channels=96)
dataloader.train.total_batch_size = 16
train.output_dir = "output/configs_for_tests/teacher_vitdet"
