"""DiffKD on res5: DeepLabV3+ on timm's ResNet-18 from a slim R50; train deeplab_v3_plus_teacher_r50.py first."""

from detectron2.config import LazyCall as L

from diffkd_d2.modeling.teacher import load_teacher

from ..common.distill.fpn import diffkd_points
from ..common.models.slim_deeplab import slim_deeplab
from .deeplab_v3_plus_teacher_r50 import dataloader
from .deeplab_v3_plus_teacher_r50 import model as teacher
from .semantic_student_r18 import distill, lr_multiplier, model, optimizer, train

weights = "output/shapes/deeplab_v3_plus_teacher_r50/model_final.pth"
model.teacher = L(load_teacher)(model=teacher.student, weights=weights)
model.student = slim_deeplab("v3_plus", 18, dataloader.train.dataset.names, num_classes=4)
model.points = diffkd_points(["res5"], student_channels=512, teacher_channels=1024, latent_channels=128)
train.output_dir = "output/shapes/deeplab_v3_plus_diffkd_r18"
