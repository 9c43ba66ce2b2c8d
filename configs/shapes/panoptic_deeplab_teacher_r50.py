"""A panoptic teacher of `shapes` without boxes: Panoptic-DeepLab on a slim ResNet-50."""

from ..common.data.shapes_panoptic_deeplab import dataloader
from ..common.models.slim_deeplab import slim_deeplab
from .panoptic_teacher_r50 import distill, lr_multiplier, model, optimizer, train

model.student = slim_deeplab("panoptic", 50, dataloader.train.dataset.names, num_classes=11)
train.output_dir = "output/shapes/panoptic_deeplab_teacher_r50"
