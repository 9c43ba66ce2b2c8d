"""DiffKD on P2 to P6: Mask R-CNN on timm's ResNet-18 from Detectron2's R50-FPN for Cityscapes.

Published mask AP of the teacher (Detectron2's MODEL_ZOO.md): 36.5. The student alone and with DiffKD: not measured.
Detectron2 starts its model, and this schedule, from weights of COCO; this student starts from ImageNet's unless
train.init_checkpoint names the result of configs/coco/diffkd_mask_r18.py. It reads RGB images, the teacher BGR.
"""

from detectron2.config import LazyCall as L
from detectron2.solver import WarmupParamScheduler
from fvcore.common.param_scheduler import MultiStepParamScheduler

from ..coco.diffkd_mask_r18 import distill, model, optimizer, train
from ..common.data.cityscapes_instance import dataloader
from ..common.models.zoo import zoo_teacher

model.student.roi_heads.num_classes = 8
model.teacher = zoo_teacher("Cityscapes/mask_rcnn_R_50_FPN")
optimizer.lr = 0.01
steps = L(MultiStepParamScheduler)(values=[1.0, 0.1], milestones=[18000], num_updates=24000)
lr_multiplier = L(WarmupParamScheduler)(scheduler=steps, warmup_length=1 / 24, warmup_factor=0.001)
train.max_iter, train.eval_period = 24000, 8000
train.output_dir = "output/cityscapes/diffkd_mask_r18"
