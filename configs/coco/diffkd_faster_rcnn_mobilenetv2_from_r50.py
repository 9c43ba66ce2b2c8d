"""DiffKD on P2 to P6 of COCO: Faster R-CNN on timm's MobileNetV2 from Detectron2's R50-FPN 3x."""

from detectron2.config import LazyCall as L
from detectron2.model_zoo import get_config

from diffkd_d2.meta_arch.distilled_model import DistilledModel

from ..common.data.coco import dataloader
from ..common.distill.coco import coco_points
from ..common.models.timm_fpn import on_timm
from ..common.models.zoo import zoo_teacher
from ..common.strategies.coco_1x import distill, lr_multiplier, optimizer, train

model = L(DistilledModel)(
    student=on_timm(get_config("common/models/mask_rcnn_fpn.py").model, "mobilenetv2_100.ra_in1k"),
    teacher=zoo_teacher("COCO-Detection/faster_rcnn_R_50_FPN_3x"),
    points=coco_points(),
    shared_distiller=False,
)
for name in ("mask_in_features", "mask_pooler", "mask_head"):
    model.student.roi_heads.pop(name)
dataloader.train.mapper.image_format = "RGB"
train.init_checkpoint = ""
train.output_dir = "output/coco/diffkd_faster_rcnn_mobilenetv2_from_r50"
