"""Train the teacher of `shapes`: RetinaNet on a slim ResNet-50, 4,000 iterations."""

from detectron2.config import LazyCall as L

from diffkd_d2.meta_arch.distilled_model import DistilledModel

from ..common.data.shapes import dataloader
from ..common.models.slim_retinanet import slim_retinanet
from ..common.strategies.from_scratch import distill, lr_multiplier, optimizer, train

model = L(DistilledModel)(
    student=slim_retinanet(50, width=24, channels=96, num_convs=4), points=[], shared_distiller=False
)
dataloader.train.total_batch_size = 16
optimizer.lr = 1.5e-3
train.max_iter, train.eval_period, train.checkpointer.period = 4000, 2000, 1000
train.output_dir = "output/shapes/teacher_retinanet_r50"
# The trained weights that are shipped, for --teacher.
teacher = dict(weights="assets/shapes_teacher_r50.pth")
