"""DiffKD on res5: DeepLabV3+ on timm's ResNet-18 from Detectron2's R103.

Published mIoU on val: teacher 80.0 (Detectron2's projects/DeepLab/README.md). The student alone and with DiffKD: not
measured.
"""

from ..common.models.cityscapes_zoo import deeplab_teacher
from ..common.models.deeplab import deeplab, timm_dilated
from .diffkd_deeplab_v3_r18 import dataloader, distill, lr_multiplier, model, optimizer, train

model.student = deeplab("v3_plus", timm_dilated("resnet18.tv_in1k"), dataloader.train.dataset.names)
model.teacher = deeplab_teacher("v3_plus")
train.output_dir = "output/cityscapes/diffkd_deeplab_v3_plus_r18"
