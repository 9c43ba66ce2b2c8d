"""DiffKD on P2 to P6: Faster R-CNN on timm's MobileNetV2 from Detectron2's R50-FPN 3x.

Published box AP of the teacher (Detectron2's MODEL_ZOO.md): 40.2. The student alone and with DiffKD: not measured.
"""

from ..common.models.timm_fpn import on_timm
from ..common.models.zoo import zoo_teacher
from .diffkd_mask_r18 import distill, lr_multiplier, model, optimizer, train
from .diffkd_r50 import dataloader

model.student.backbone = on_timm(model.student, "mobilenetv2_100.ra_in1k").backbone
for name in ("mask_in_features", "mask_pooler", "mask_head"):
    model.student.roi_heads.pop(name)
model.teacher = zoo_teacher("COCO-Detection/faster_rcnn_R_50_FPN_3x")
dataloader.train.mapper.image_format = "RGB"
train.output_dir = "output/coco/diffkd_mobilenetv2"
