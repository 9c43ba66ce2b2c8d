"""Train a teacher for Tiny ImageNet's twenty classes: a slim ResNet-18, 2,000 iterations."""

from detectron2.config import LazyCall as L

from diffkd_d2.meta_arch.distilled_model import DistilledModel

from ..common.data.tiny_imagenet20 import dataloader
from ..common.models.slim_classifier import slim_classifier
from ..common.strategies.small_classifier import distill, lr_multiplier, optimizer, train

model = L(DistilledModel)(
    student=slim_classifier(num_classes=20, width=32, blocks=2), points=[], shared_distiller=False
)
train.max_iter = train.eval_period = train.checkpointer.period = 2000
train.output_dir = "output/tiny_imagenet/teacher_resnet18"
