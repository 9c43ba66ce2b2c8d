"""DiffKD: ResNet-50 from timm's Swin-L, strategy B3."""

from detectron2.config import LazyCall as L

from diffkd_d2.meta_arch.distilled_model import DistilledModel

from ..common.distill.classes import diffkd_points
from ..common.models.classifiers import classifier, swin_large_teacher
from ..common.strategies.imagenet_b3 import dataloader, distill, lr_multiplier, optimizer, train

model = L(DistilledModel)(
    student=classifier("timm/resnet50", "layer4", drop_path_rate=0.2),
    teacher=swin_large_teacher(),
    points=diffkd_points(student_channels=2048, teacher_channels=1536, num_classes=1000),
    shared_distiller=False,
)
train.output_dir = "output/imagenet/diffkd_resnet50_from_swin_l"
