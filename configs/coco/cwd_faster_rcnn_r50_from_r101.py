"""CWD on P2 to P6 of COCO, as published for Faster R-CNN: R50-FPN 1x from Detectron2's R101-FPN 3x."""

from detectron2.config import LazyCall as L

from diffkd_d2.engine.pair import recipe_points
from diffkd_d2.meta_arch.distilled_model import DistilledModel

from ..common.data.coco import dataloader
from ..common.models.zoo import zoo_model, zoo_teacher
from ..common.strategies.coco_1x import distill, lr_multiplier, optimizer, train

model = L(DistilledModel)(
    student=zoo_model("COCO-Detection/faster_rcnn_R_50_FPN_1x"),
    teacher=zoo_teacher("COCO-Detection/faster_rcnn_R_101_FPN_3x"),
    points=recipe_points("cwd"),
    shared_distiller=False,
)
train.output_dir = "output/coco/cwd_faster_rcnn_r50_from_r101"
