"""ImageNet-1k in torchvision's layout, with the augmentation of the authors' strategies B1, B2 and B3.

Expected under DETECTRON2_DATASETS: imagenet/{train,val}/<class>/*. The strategies are those in
hunto/image_classification_sota, configs/strategies/distill.
"""

from detectron2.config import LazyCall as L
from timm.data import Mixup, create_transform
from torchvision.transforms import Compose

from diffkd_d2.classification.transforms import RandomErase

from .tiny_imagenet20 import dataloader

NUM_IMAGES = 1281167


def augmentation(auto_augment=None, interpolation="bilinear", erase=0.0):
    """Return a random crop to 224 px and a flip, then RandAugment and random erasing if asked for."""
    transform = L(create_transform)(
        input_size=224,
        is_training=True,
        color_jitter=None,
        auto_augment=auto_augment,
        interpolation=interpolation,
        normalize=False,
    )
    return L(Compose)(transforms=[transform, L(RandomErase)(probability=erase, mode="pixel")]) if erase else transform


def mixup(mixup_alpha, cutmix_alpha, label_smoothing):
    """Return Mixup and CutMix; each batch gets one of them."""
    return L(Mixup)(
        mixup_alpha=mixup_alpha, cutmix_alpha=cutmix_alpha, label_smoothing=label_smoothing, num_classes=1000
    )


for loader in (dataloader.train, dataloader.test):
    loader.dataset.source.root = "imagenet"
    loader.num_workers = 8
dataloader.train.dataset.transform = augmentation()
dataloader.train.total_batch_size = 256
# Shorter side to 256 px, middle 224 px.
dataloader.test.dataset.transform = L(create_transform)(input_size=224, crop_pct=0.875, normalize=False)
