"""Train the classifier of `shapes` alone: a slim ResNet-10, 800 iterations."""

from detectron2.config import LazyCall as L

from diffkd_d2.meta_arch.distilled_model import DistilledModel

from ..common.data.shapes_cls import dataloader
from ..common.models.slim_classifier import slim_classifier
from ..common.strategies.small_classifier import distill, lr_multiplier, optimizer, train

model = L(DistilledModel)(student=slim_classifier(num_classes=8, width=16, blocks=1), points=[], shared_distiller=False)
train.max_iter = train.eval_period = train.checkpointer.period = 800
train.output_dir = "output/shapes_cls/alone_resnet10"
