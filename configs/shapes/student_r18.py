"""The student of `shapes` alone: what distillation is measured against."""

from detectron2.config import LazyCall as L

from diffkd_d2.meta_arch.distilled_model import DistilledModel

from ..common.data.shapes import dataloader
from ..common.models.slim_retinanet import slim_retinanet
from ..common.optim import AdamW as optimizer
from ..common.schedule import cosine as lr_multiplier
from ..common.train import distill, train

model = L(DistilledModel)(student=slim_retinanet(depth=18, width=32, channels=64, num_convs=2), points=[])
train.max_iter = 1500
train.checkpointer.period = train.eval_period = 1500
train.clip_norm = 10.0
train.output_dir = "output/shapes/student_r18"
