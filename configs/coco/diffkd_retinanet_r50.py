"""DiffKD on P3 to P7: RetinaNet R50-FPN 1x from Detectron2's R101-FPN 3x.

Published box AP (Detectron2's MODEL_ZOO.md): teacher 40.4, student alone 37.4. With DiffKD: not measured.
"""

from ..common.distill.fpn import diffkd_points
from .diffkd_r50 import dataloader, distill, lr_multiplier, model, optimizer, train

ZOO = "COCO-Detection/retinanet_R_101_FPN_3x"
model.teacher.model.config = f"{ZOO}.yaml"
model.teacher.weights = f"detectron2://{ZOO}/190397697/model_final_971ab9.pkl"
model.student.config = "COCO-Detection/retinanet_R_50_FPN_1x.yaml"
model.points = diffkd_points(["p3", "p4", "p5", "p6", "p7"])
optimizer.lr = 0.01
train.output_dir = "output/coco/diffkd_retinanet_r50"
