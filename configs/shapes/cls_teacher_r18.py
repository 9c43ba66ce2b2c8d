"""A classifier of `shapes` as teacher: a slim ResNet-18, trained long."""

from ..common.data.shapes_cls import dataloader
from ..common.models.slim_classifier import slim_classifier
from ..tiny_imagenet.student import distill, lr_multiplier, model, optimizer, train

model.student = slim_classifier(num_classes=8, width=32, blocks=2)
train.max_iter = train.eval_period = train.checkpointer.period = 1500
train.output_dir = "output/shapes/cls_teacher_r18"
