"""Train the student of CamVid alone: Semantic FPN on a slim ResNet-18, 400 iterations."""

from detectron2.config import LazyCall as L

from diffkd_d2.meta_arch.distilled_model import DistilledModel

from ..common.data.camvid import dataloader
from ..common.models.slim_semantic_fpn import slim_semantic_fpn
from ..common.strategies.from_scratch import distill, lr_multiplier, optimizer, train

model = L(DistilledModel)(
    student=slim_semantic_fpn(18, width=16, channels=32, num_classes=11), points=[], shared_distiller=False
)
train.max_iter = train.eval_period = train.checkpointer.period = 400
train.output_dir = "output/camvid/alone_semantic_fpn_r18"
