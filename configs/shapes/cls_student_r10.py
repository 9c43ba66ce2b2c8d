"""The classifier of `shapes` as student alone: a slim ResNet-10."""

from ..common.data.shapes_cls import dataloader
from ..common.models.slim_classifier import slim_classifier
from ..tiny_imagenet.student import distill, lr_multiplier, model, optimizer, train

model.student = slim_classifier(num_classes=8, width=16, blocks=1)
train.max_iter = train.eval_period = train.checkpointer.period = 800
train.output_dir = "output/shapes/cls_student_r10"
