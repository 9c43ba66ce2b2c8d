"""Classifiers of ImageNet and CIFAR-100, and teachers with published weights."""

from detectron2.config import LazyCall as L

from diffkd_d2.classification.classifier import Classifier
from diffkd_d2.modeling.teacher import load_teacher

# Mean and standard deviation of CIFAR-100 in the authors' dist_cifar.yaml, times 255.
CIFAR_STATS = dict(pixel_mean=[129.31, 124.11, 112.40], pixel_std=[68.21, 65.41, 70.41])


def classifier(model, feature, **options):
    """Return an ImageNet classifier (1,000 classes) with random weights; `options` go to Classifier or the network."""
    return L(Classifier)(model=model, num_classes=1000, feature=feature, **options)


def cifar_classifier(name, feature):
    """Return a classifier of CIFAR-100 with random weights."""
    return L(Classifier)(model=f"cifar/{name}", num_classes=100, feature=feature, **CIFAR_STATS)


def published_teacher(model, weights, feature):
    """Return a classifier of ImageNet with its library's published weights."""
    return L(load_teacher)(model=classifier(model, feature), weights=weights)


def resnet34_teacher():
    """Return torchvision's ResNet-34."""
    return published_teacher("torchvision/resnet34", "torchvision://resnet34/IMAGENET1K_V1", "layer4")


def resnet50_teacher():
    """Return torchvision's ResNet-50."""
    return published_teacher("torchvision/resnet50", "torchvision://resnet50/IMAGENET1K_V1", "layer4")


def swin_large_teacher():
    """Return timm's Swin-L, pretrained on ImageNet-22k."""
    name = "swin_large_patch4_window7_224"
    return published_teacher(f"timm/{name}", f"timm://{name}.ms_in22k_ft_in1k", "norm")
