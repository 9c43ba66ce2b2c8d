"""A teacher for twenty classes of Tiny ImageNet: a slim ResNet-18, trained long."""

from ..common.models.slim_classifier import slim_classifier
from .student import dataloader, distill, lr_multiplier, model, optimizer, train

model.student = slim_classifier(num_classes=20, width=32, blocks=2)
train.max_iter = train.eval_period = train.checkpointer.period = 2000
train.output_dir = "output/tiny_imagenet/teacher"
