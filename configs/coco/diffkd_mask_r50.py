"""DiffKD on P2 to P6: Mask R-CNN R50-FPN 1x from Detectron2's R101-FPN 3x.

Published box / mask AP (Detectron2's MODEL_ZOO.md): teacher 42.9 / 38.6, student alone 38.6 / 35.2.
With DiffKD: not measured.
"""

from ..common.models.zoo import zoo_model, zoo_teacher
from .diffkd_r50 import dataloader, distill, lr_multiplier, model, optimizer, train

model.teacher = zoo_teacher("COCO-InstanceSegmentation/mask_rcnn_R_101_FPN_3x")
model.student = zoo_model("COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x")
dataloader.train.mapper.use_instance_mask = True
dataloader.evaluator.tasks = ["bbox", "segm"]
train.output_dir = "output/coco/diffkd_mask_r50"
