"""DiffKD on P2 to P6: Faster R-CNN R50-FPN 1x from Detectron2's R101-FPN 3x.

Published box AP (Detectron2's MODEL_ZOO.md): teacher 42.0, student alone 37.9. With DiffKD: not measured.
"""

from detectron2.config import LazyCall as L
from detectron2.model_zoo import get_config

from diffkd_d2.meta_arch.distilled_model import DistilledModel

from ..common.data.coco import dataloader
from ..common.distill.fpn import diffkd_points
from ..common.models.zoo import zoo_model, zoo_teacher
from ..common.optim import SGD as optimizer
from ..common.train import distill, train

lr_multiplier = get_config("common/coco_schedule.py").lr_multiplier_1x
model = L(DistilledModel)(
    student=zoo_model("COCO-Detection/faster_rcnn_R_50_FPN_1x"),
    teacher=zoo_teacher("COCO-Detection/faster_rcnn_R_101_FPN_3x"),
    # The latent's width and P2's subsampling keep the step at 1.15 of its floor: docs/performance.md.
    points=diffkd_points(["p2", "p3", "p4", "p5", "p6"], latent_channels=64, subsample={"p2": 2}),
)
train.init_checkpoint = "detectron2://ImageNetPretrained/MSRA/R-50.pkl"
train.output_dir = "output/coco/diffkd_r50"
