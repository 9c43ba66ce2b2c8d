"""DiffKD on res5: DeepLabV3 on timm's ResNet-18 from Detectron2's R103 (ResNet-101 with a stem of three 3x3)."""

from detectron2.config import LazyCall as L

from diffkd_d2.meta_arch.distilled_model import DistilledModel

from ..common.data.cityscapes_sem_seg import dataloader
from ..common.distill.fpn import diffkd_points
from ..common.models.cityscapes_zoo import deeplab_teacher
from ..common.models.deeplab import deeplab, timm_dilated
from ..common.strategies.cityscapes import distill, lr_multiplier, optimizer, train

model = L(DistilledModel)(
    student=deeplab("v3", timm_dilated("resnet18.tv_in1k"), dataloader.train.dataset.names),
    teacher=deeplab_teacher("v3"),
    points=diffkd_points(["res5"], student_channels=512, teacher_channels=2048, latent_channels=256),
    shared_distiller=False,
)
train.output_dir = "output/cityscapes/diffkd_deeplab_v3_r18_from_r103"
