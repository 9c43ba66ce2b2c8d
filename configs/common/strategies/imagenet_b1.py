"""B1: SGD, 100 epochs, a tenth every 30, crops and flips; 32 images on each of 8 GPUs.

Numbers: hunto/image_classification_sota, configs/strategies/distill/{diffkd/diffkd_b1,resnet_kdt4,resnet_dist}.yaml.
"""

from ..data.imagenet import NUM_IMAGES, dataloader
from ..optim import SGD as optimizer
from .base import distill, no_decay, set_length, steps, train

dataloader.train.total_batch_size = 256
optimizer.lr, optimizer.weight_decay, optimizer.nesterov = 0.1, 1e-4, True
optimizer.params.update(no_decay)
lr_multiplier = steps(100, [30, 60, 90])
set_length(train, batch=256, epochs=100, num_images=NUM_IMAGES)
