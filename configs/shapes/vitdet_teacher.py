"""A teacher of the masks of `shapes`: Mask R-CNN on a plain ViT of four blocks; needs Detectron2's main branch."""

from ..common.data.shapes_mask import dataloader
from ..common.models.slim_vitdet import slim_vitdet
from .panoptic_teacher_r50 import distill, lr_multiplier, model, optimizer, train

model.student = slim_vitdet(embed_dim=192, channels=96)
dataloader.train.total_batch_size = 16
train.output_dir = "output/shapes/vitdet_teacher"
