"""Train the student of BCCD alone: RetinaNet on a slim ResNet-18, 400 iterations."""

from detectron2.config import LazyCall as L

from diffkd_d2.meta_arch.distilled_model import DistilledModel

from ..common.data.bccd import dataloader
from ..common.models.slim_retinanet import slim_retinanet
from ..common.strategies.from_scratch import distill, lr_multiplier, optimizer, train

model = L(DistilledModel)(
    student=slim_retinanet(18, width=32, channels=64, num_convs=2, num_classes=3), points=[], shared_distiller=False
)
model.student.anchor_generator.sizes = [[20, 25, 32], [40, 50, 64], [80, 100, 126]]
train.max_iter = train.eval_period = train.checkpointer.period = 400
train.output_dir = "output/bccd/alone_retinanet_r18"
