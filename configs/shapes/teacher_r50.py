"""The teacher of `shapes`: RetinaNet on a slim ResNet-50, trained to the end."""

import detectron2.data.transforms as T
from detectron2.config import LazyCall as L

from diffkd_d2.meta_arch.distilled_model import DistilledModel

from ..common.data.shapes import dataloader
from ..common.models.slim_retinanet import slim_retinanet
from ..common.optim import AdamW as optimizer
from ..common.schedule import cosine as lr_multiplier
from ..common.train import distill, train

model = L(DistilledModel)(student=slim_retinanet(depth=50, width=24, channels=96, num_convs=4), points=[])
dataloader.train.mapper.augmentations.append(L(T.RandomFlip)(horizontal=False, vertical=True))
dataloader.train.total_batch_size = 16
optimizer.lr = 1.5e-3
train.max_iter = 4000
train.eval_period = 2000
train.checkpointer.period = 1000
train.clip_norm = 10.0
train.output_dir = "output/shapes/teacher_r50"
# The trained weights that are shipped, for --teacher.
teacher = dict(weights="assets/shapes_teacher_r50.pth")
