"""Train the student of `shapes` alone, the baseline: RetinaNet on a slim ResNet-18."""

from detectron2.config import LazyCall as L

from diffkd_d2.meta_arch.distilled_model import DistilledModel

from ..common.data.shapes import dataloader
from ..common.models.slim_retinanet import slim_retinanet
from ..common.strategies.from_scratch import distill, lr_multiplier, optimizer, train

model = L(DistilledModel)(
    student=slim_retinanet(18, width=32, channels=64, num_convs=2), points=[], shared_distiller=False
)
train.max_iter = train.eval_period = train.checkpointer.period = 1500
train.output_dir = "output/shapes/alone_retinanet_r18"
