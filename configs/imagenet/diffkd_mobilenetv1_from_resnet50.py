"""DiffKD: MobileNetV1 from torchvision's ResNet-50, strategy B1."""

from detectron2.config import LazyCall as L

from diffkd_d2.meta_arch.distilled_model import DistilledModel

from ..common.distill.classes import diffkd_points
from ..common.models.classifiers import classifier, resnet50_teacher
from ..common.strategies.imagenet_b1 import dataloader, distill, lr_multiplier, optimizer, train

model = L(DistilledModel)(
    student=classifier(
        "timm/mobilenetv1_100", "blocks", pixel_mean=[123.675, 116.28, 103.53], pixel_std=[58.395, 57.12, 57.375]
    ),
    teacher=resnet50_teacher(),
    points=diffkd_points(student_channels=1024, teacher_channels=2048, num_classes=1000),
    shared_distiller=False,
)
train.output_dir = "output/imagenet/diffkd_mobilenetv1_from_resnet50"
