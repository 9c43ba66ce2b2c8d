"""Small ResNets of timm for images of 64 px."""

from detectron2.config import LazyCall as L

from diffkd_d2.classification.classifier import Classifier


def slim_classifier(num_classes, width, blocks):
    """Return a ResNet with `blocks` basic blocks per stage and `width` channels in the first (64 in ResNet-18)."""
    return L(Classifier)(
        model="timm/resnet18",
        num_classes=num_classes,
        feature="layer4",
        channels=[width * 2**i for i in range(4)],
        layers=[blocks] * 4,
        channels_last=True,
    )
