"""DiffKD on res5: DeepLabV3 on timm's ResNet-18 from Detectron2's R103 (ResNet-101 with three 3x3 as its stem).

Published mIoU on val: teacher 78.5 (Detectron2's projects/DeepLab/README.md). Others report 74.21 for DeepLabV3 on
ResNet-18 alone in their own setting (CIRKD's README). The student here alone and with DiffKD: not measured.
"""

from detectron2.config import LazyCall as L

from diffkd_d2.meta_arch.distilled_model import DistilledModel

from ..common.data.cityscapes_sem_seg import dataloader
from ..common.distill.fpn import diffkd_points
from ..common.models.cityscapes_zoo import deeplab_teacher
from ..common.models.deeplab import deeplab, timm_dilated
from ..common.optim import SGD as optimizer
from ..common.schedule import poly as lr_multiplier
from ..common.train import distill, train

model = L(DistilledModel)(
    student=deeplab("v3", timm_dilated("resnet18.tv_in1k"), dataloader.train.dataset.names),
    teacher=deeplab_teacher("v3"),
    points=diffkd_points(["res5"], student_channels=512, teacher_channels=2048, latent_channels=256),
)
optimizer.lr = 0.01
train.output_dir = "output/cityscapes/diffkd_deeplab_v3_r18"
