"""DiffKD: MobileNetV2 from torchvision's ResNet-50, strategy B2."""

from detectron2.config import LazyCall as L

from diffkd_d2.meta_arch.distilled_model import DistilledModel

from ..common.distill.classes import diffkd_points
from ..common.models.classifiers import classifier, resnet50_teacher
from ..common.strategies.imagenet_b2 import dataloader, distill, lr_multiplier, optimizer, train

model = L(DistilledModel)(
    student=classifier("timm/mobilenetv2_100", "conv_head", label_smoothing=0.1, drop_rate=0.2),
    teacher=resnet50_teacher(),
    points=diffkd_points(student_channels=1280, teacher_channels=2048, num_classes=1000),
    shared_distiller=False,
)
train.output_dir = "output/imagenet/diffkd_mobilenetv2_from_resnet50"
