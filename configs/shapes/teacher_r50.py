"""The teacher of `shapes`: RetinaNet on a slim ResNet-50, trained to the end."""

from ..common.data.shapes import dataloader
from ..common.models.slim_retinanet import slim_retinanet
from ..common.optim import AdamW as optimizer
from ..common.schedule import cosine as lr_multiplier
from ..common.train import distill, train
from diffkd_d2.distilled_model import DistilledModel
from detectron2.config import LazyCall as L

model = L(DistilledModel)(student=slim_retinanet(depth=50, width=24, channels=96, num_convs=4), points=[])
train.max_iter = 20000
train.clip_norm = 10.0
train.output_dir = "output/shapes/teacher_r50"
