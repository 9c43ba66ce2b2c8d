"""Detectron2's DeepLab schedule for Cityscapes: SGD, 90,000 iterations, polynomial decay."""

from ..optim import SGD as optimizer
from ..schedule import poly as lr_multiplier
from ..train import distill, train

optimizer.lr = 0.01
