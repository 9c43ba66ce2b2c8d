"""Small ResNets for images of 64 px, by timm's own arguments."""

from detectron2.config import LazyCall as L

from diffkd_d2.classification.classifier import Classifier


def slim_classifier(num_classes, width, blocks):
    """A ResNet of basic blocks whose first stage is `width` wide (64 in ResNet-18), `blocks` of them in each stage."""
    return L(Classifier)(
        model="timm/resnet18",
        num_classes=num_classes,
        feature="layer4",
        channels=[width * 2**i for i in range(4)],
        layers=[blocks] * 4,
        channels_last=True,
    )
