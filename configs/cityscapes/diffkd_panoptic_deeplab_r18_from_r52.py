"""DiffKD on res5: Panoptic-DeepLab on timm's ResNet-18 from Detectron2's R52."""

from detectron2.config import LazyCall as L

from diffkd_d2.meta_arch.distilled_model import DistilledModel

from ..common.data.cityscapes_panoptic import dataloader
from ..common.distill.fpn import diffkd_points
from ..common.models.cityscapes_zoo import deeplab_teacher
from ..common.models.deeplab import deeplab, timm_dilated
from ..common.optim import Adam as optimizer
from ..common.schedule import poly as lr_multiplier
from ..common.train import distill, train

model = L(DistilledModel)(
    student=deeplab("panoptic", timm_dilated("resnet18.tv_in1k"), dataloader.train.dataset.names),
    teacher=deeplab_teacher("panoptic"),
    points=diffkd_points(["res5"], student_channels=512, teacher_channels=2048, latent_channels=256),
    shared_distiller=False,
)
train.output_dir = "output/cityscapes/diffkd_panoptic_deeplab_r18_from_r52"
