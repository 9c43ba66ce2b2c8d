"""B2: RMSProp-TF, 450 epochs, 0.97 every 2.4, RandAugment, erasing, EMA; 96 images on each of 8 GPUs.

Numbers: hunto/image_classification_sota, configs/strategies/distill/diffkd/diffkd_b2.yaml. Dropout (0.2) and label
smoothing (0.1) belong to the student's config.
"""

from detectron2.config import LazyCall as L
from timm.optim import RMSpropTF

from ..data.imagenet import NUM_IMAGES, augmentation, dataloader
from ..optim import SGD
from .base import distill, no_decay, set_length, steps, train, warm_up

dataloader.train.total_batch_size = 768
dataloader.train.dataset.transform = augmentation("rand-m9-mstd0.5", erase=0.2)
optimizer = L(RMSpropTF)(params=SGD.params, lr=0.048, alpha=0.9, momentum=0.9, eps=1e-3, weight_decay=1e-5)
optimizer.params.update(no_decay)
# The unit is a tenth of an epoch.
decay = steps(4500, [24 * i for i in range(1, 188)], gamma=0.97)
lr_multiplier = warm_up(decay, epochs=450, warmup_epochs=3, warmup_factor=1e-6 / 0.048)
set_length(train, batch=768, epochs=450, num_images=NUM_IMAGES)
train.ema_decay = 0.9999
