"""B3: AdamW, 300 epochs, cosine, RandAugment, erasing, Mixup and CutMix, no EMA; 64 images on each of 16 GPUs.

Numbers: hunto/image_classification_sota, configs/strategies/distill/diffkd/diffkd_b3.yaml. Drop path (0.2) belongs to
the student's config.
"""

from detectron2.config import LazyCall as L
from fvcore.common.param_scheduler import CosineParamScheduler

from ..data.imagenet import NUM_IMAGES, augmentation, dataloader, mixup
from ..optim import AdamW as optimizer
from .base import distill, no_decay, set_length, train, warm_up

dataloader.train.total_batch_size = 1024
dataloader.train.dataset.transform = augmentation("rand-m9-mstd0.5", interpolation="bicubic", erase=0.25)
dataloader.train.mix = mixup(mixup_alpha=0.8, cutmix_alpha=1.0, label_smoothing=0.1)
dataloader.test.dataset.transform.interpolation = "bicubic"
optimizer.lr, optimizer.weight_decay = 1e-3, 0.04
optimizer.params.update(no_decay)
cosine = L(CosineParamScheduler)(start_value=1.0, end_value=5e-3)
lr_multiplier = warm_up(cosine, epochs=300, warmup_epochs=20, warmup_factor=5e-4)
set_length(train, batch=1024, epochs=300, num_images=NUM_IMAGES)
train.clip_norm = 5.0
