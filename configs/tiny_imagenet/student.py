"""The student of Tiny ImageNet's twenty classes alone: a slim ResNet-10, trained briefly."""

from detectron2.config import LazyCall as L

from diffkd_d2.meta_arch.distilled_model import DistilledModel

from ..common.data.tiny_imagenet20 import dataloader
from ..common.models.slim_classifier import slim_classifier
from ..common.optim import AdamW as optimizer
from ..common.schedule import cosine as lr_multiplier
from ..common.train import distill, train

model = L(DistilledModel)(student=slim_classifier(num_classes=20, width=16, blocks=1), points=[])
train.max_iter = train.eval_period = train.checkpointer.period = 600
optimizer.lr, optimizer.weight_decay = 2e-3, 5e-2
train.amp.dtype = "bfloat16"
train.output_dir = "output/tiny_imagenet/student"
