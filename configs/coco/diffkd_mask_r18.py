"""DiffKD on P2 to P6: Mask R-CNN on timm's ResNet-18 from Detectron2's R50-FPN 3x.

Published box / mask AP of the teacher (Detectron2's MODEL_ZOO.md): 41.0 / 37.2. The student alone and with DiffKD:
not measured. The student reads RGB images with timm's statistics, the teacher BGR with its own.
"""

from detectron2.model_zoo import get_config

from ..common.models.timm_fpn import on_timm
from ..common.models.zoo import zoo_teacher
from .diffkd_mask_r50 import dataloader, distill, lr_multiplier, model, optimizer, train

model.student = on_timm(get_config("common/models/mask_rcnn_fpn.py").model, "resnet18.tv_in1k")
model.teacher = zoo_teacher("COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x")
dataloader.train.mapper.image_format = "RGB"
train.init_checkpoint = ""
train.output_dir = "output/coco/diffkd_mask_r18"
