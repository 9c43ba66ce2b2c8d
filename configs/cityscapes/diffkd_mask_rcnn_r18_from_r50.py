"""DiffKD on P2 to P6: Mask R-CNN on timm's ResNet-18 from Detectron2's R50-FPN for Cityscapes."""

from detectron2.config import LazyCall as L
from detectron2.model_zoo import get_config

from diffkd_d2.meta_arch.distilled_model import DistilledModel

from ..common.data.cityscapes_instance import dataloader
from ..common.distill.coco import coco_points
from ..common.models.timm_fpn import on_timm
from ..common.models.zoo import zoo_teacher
from ..common.strategies.cityscapes_instance import distill, lr_multiplier, optimizer, train

model = L(DistilledModel)(
    student=on_timm(get_config("common/models/mask_rcnn_fpn.py").model, "resnet18.tv_in1k"),
    teacher=zoo_teacher("Cityscapes/mask_rcnn_R_50_FPN"),
    points=coco_points(),
    shared_distiller=False,
)
model.student.roi_heads.num_classes = 8
train.output_dir = "output/cityscapes/diffkd_mask_rcnn_r18_from_r50"
