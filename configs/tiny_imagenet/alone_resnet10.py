"""Train the student of Tiny ImageNet's twenty classes alone: a slim ResNet-10, 600 iterations."""

from detectron2.config import LazyCall as L

from diffkd_d2.meta_arch.distilled_model import DistilledModel

from ..common.data.tiny_imagenet20 import dataloader
from ..common.models.slim_classifier import slim_classifier
from ..common.strategies.small_classifier import distill, lr_multiplier, optimizer, train

model = L(DistilledModel)(
    student=slim_classifier(num_classes=20, width=16, blocks=1), points=[], shared_distiller=False
)
train.max_iter = train.eval_period = train.checkpointer.period = 600
train.output_dir = "output/tiny_imagenet/alone_resnet10"
