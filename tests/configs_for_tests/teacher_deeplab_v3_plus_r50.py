"""DeepLabV3+ on a slim ResNet-50."""

from ...configs.shapes.teacher_semantic_fpn_r50 import dataloader, distill, lr_multiplier, model, optimizer, train
from .common.slim_deeplab import slim_deeplab

model.student = slim_deeplab("v3_plus", 50, dataloader.train.dataset.names, num_classes=4)
dataloader.train.mapper.image_format = dataloader.test.mapper.image_format = "RGB"
train.output_dir = "output/configs_for_tests/teacher_deeplab_v3_plus_r50"
