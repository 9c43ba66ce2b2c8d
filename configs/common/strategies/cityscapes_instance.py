"""Detectron2's Mask R-CNN schedule for Cityscapes: SGD, 24,000 iterations of 8 images, a tenth after 18,000."""

from detectron2.config import LazyCall as L
from detectron2.solver import WarmupParamScheduler
from fvcore.common.param_scheduler import MultiStepParamScheduler

from ..optim import SGD as optimizer
from ..train import distill, train

optimizer.lr = 0.01
lr_multiplier = L(WarmupParamScheduler)(
    scheduler=L(MultiStepParamScheduler)(values=[1.0, 0.1], milestones=[18000], num_updates=24000),
    warmup_length=1 / 24,
    warmup_factor=0.001,
)
train.max_iter, train.eval_period = 24000, 8000
