"""DiffKD on res5: Panoptic-DeepLab on timm's ResNet-18 from Detectron2's R52.

Published on val: teacher PQ 60.3, mIoU 78.2, mask AP 33.2 (Detectron2's projects/Panoptic-DeepLab/README.md). The
student alone and with DiffKD: not measured.
"""

from ..common.data.cityscapes_panoptic import dataloader
from ..common.models.cityscapes_zoo import deeplab_teacher
from ..common.models.deeplab import deeplab, timm_dilated
from ..common.optim import Adam as optimizer
from .diffkd_deeplab_v3_r18 import distill, lr_multiplier, model, train

model.student = deeplab("panoptic", timm_dilated("resnet18.tv_in1k"), dataloader.train.dataset.names)
model.teacher = deeplab_teacher("panoptic")
train.output_dir = "output/cityscapes/diffkd_panoptic_deeplab_r18"
