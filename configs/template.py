"""Template of a config: copy it to configs/<your name>.py and change what you need. As it is, it trains on COCO."""

from detectron2.config import LazyCall as L

from diffkd_d2.distillers import DiffKD
from diffkd_d2.meta_arch.distilled_model import DistilledModel

from .common.data.coco import dataloader  # in a folder of its own (configs/mine/x.py): ..common
from .common.distill.fpn import feature_points
from .common.models.zoo import zoo_model, zoo_teacher
from .common.strategies.coco_1x import distill, lr_multiplier, optimizer, train

# One distiller per feature level; docs/your_model.md lists the other places, docs/methods.md the other distillers.
_distiller = L(DiffKD)(student_channels=256, teacher_channels=256, latent_channels=64)
model = L(DistilledModel)(
    student=zoo_model("COCO-Detection/retinanet_R_50_FPN_1x"),  # or any LazyCall: L(RetinaNet)(backbone=..., ...)
    teacher=zoo_teacher("COCO-Detection/retinanet_R_101_FPN_3x"),  # or L(load_teacher)(model=..., weights="...")
    points=feature_points(["p3", "p4", "p5", "p6", "p7"], _distiller, weight=1.0),
    shared_distiller=False,  # True: one set of modules for all levels
)
# Each assignment can be an override too: train_net.py --config-file ... optimizer.lr=0.01
dataloader.train.total_batch_size, optimizer.lr = 16, 0.01
train.max_iter, train.output_dir = 90000, "output/template"
