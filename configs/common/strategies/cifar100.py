"""CIFAR-100: SGD, 240 epochs, a tenth at 150, 180 and 210, batch 64; every parameter decays.

Numbers: hunto/image_classification_sota, configs/strategies/distill/dist_cifar.yaml.
"""

from ..data.cifar100 import dataloader
from ..optim import SGD as optimizer
from .base import distill, set_length, steps, train

dataloader.train.num_workers = 4
optimizer.lr, optimizer.weight_decay, optimizer.params.weight_decay_norm = 0.05, 5e-4, None
lr_multiplier = steps(240, [150, 180, 210])
set_length(train, batch=64, epochs=240, num_images=50000)
