"""Train the teacher of BCCD: RetinaNet on a slim ResNet-50, 1,200 iterations."""

from detectron2.config import LazyCall as L

from diffkd_d2.meta_arch.distilled_model import DistilledModel

from ..common.data.bccd import dataloader
from ..common.models.slim_retinanet import slim_retinanet
from ..common.strategies.from_scratch import distill, lr_multiplier, optimizer, train

model = L(DistilledModel)(
    student=slim_retinanet(50, width=24, channels=96, num_convs=4, num_classes=3), points=[], shared_distiller=False
)
model.student.anchor_generator.sizes = [[20, 25, 32], [40, 50, 64], [80, 100, 126]]
train.max_iter = train.eval_period = train.checkpointer.period = 1200
train.output_dir = "output/bccd/teacher_retinanet_r50"
