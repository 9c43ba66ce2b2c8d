"""DiffKD on P2 to P6: PointRend R18 from slim R50; train point_rend_teacher_r50.py first."""

from detectron2.config import LazyCall as L

from diffkd_d2.modeling.teacher import load_teacher

from ..common.data.shapes_mask import dataloader
from ..common.models.slim_point_rend import slim_point_rend
from .panoptic_diffkd_r18 import distill, lr_multiplier, model, optimizer, train
from .point_rend_teacher_r50 import model as teacher

model.student = slim_point_rend(depth=18, channels=64)
model.teacher = L(load_teacher)(model=teacher.student, weights="output/shapes/point_rend_teacher_r50/model_final.pth")
train.output_dir = "output/shapes/point_rend_diffkd_r18"
