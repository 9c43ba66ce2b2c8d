"""DiffKD on res5: Panoptic-DeepLab on timm's ResNet-18; train panoptic_deeplab_teacher_r50.py first."""

from detectron2.config import LazyCall as L

from diffkd_d2.modeling.teacher import load_teacher

from ..common.distill.fpn import diffkd_points
from ..common.models.slim_deeplab import slim_deeplab
from .panoptic_deeplab_teacher_r50 import dataloader
from .panoptic_deeplab_teacher_r50 import model as teacher
from .panoptic_student_r18 import distill, lr_multiplier, model, optimizer, train

weights = "output/shapes/panoptic_deeplab_teacher_r50/model_final.pth"
model.teacher = L(load_teacher)(model=teacher.student, weights=weights)
model.student = slim_deeplab("panoptic", 18, dataloader.train.dataset.names, num_classes=11)
model.points = diffkd_points(["res5"], student_channels=512, teacher_channels=1024, latent_channels=128)
train.output_dir = "output/shapes/panoptic_deeplab_diffkd_r18"
