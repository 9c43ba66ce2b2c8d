"""Train a teacher segmentor of `shapes`: Semantic FPN on a slim ResNet-50, 1,500 iterations."""

from detectron2.config import LazyCall as L

from diffkd_d2.meta_arch.distilled_model import DistilledModel

from ..common.data.shapes_sem_seg import dataloader
from ..common.models.slim_semantic_fpn import slim_semantic_fpn
from ..common.strategies.from_scratch import distill, lr_multiplier, optimizer, train

model = L(DistilledModel)(
    student=slim_semantic_fpn(50, width=24, channels=96, num_classes=4), points=[], shared_distiller=False
)
train.max_iter = train.eval_period = train.checkpointer.period = 1500
train.output_dir = "output/shapes/teacher_semantic_fpn_r50"
