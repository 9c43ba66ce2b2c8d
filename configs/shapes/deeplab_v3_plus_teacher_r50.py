"""A teacher of `shapes`' label maps: DeepLabV3+ on a slim ResNet-50."""

from ..common.data.shapes_sem_seg import dataloader
from ..common.models.slim_deeplab import slim_deeplab
from .semantic_teacher_r50 import distill, lr_multiplier, model, optimizer, train

dataloader.train.mapper.image_format = dataloader.test.mapper.image_format = "RGB"
model.student = slim_deeplab("v3_plus", 50, dataloader.train.dataset.names, num_classes=4)
train.output_dir = "output/shapes/deeplab_v3_plus_teacher_r50"
