"""DiffKD on P3 to P5: FCOS slim R18 from slim R50; train fcos_teacher_r50.py first."""

from detectron2.config import LazyCall as L

from diffkd_d2.modeling.teacher import load_teacher

from ..common.distill.fpn import diffkd_points
from ..common.models.slim_fcos import slim_fcos
from .fcos_teacher_r50 import model as teacher
from .student_r18 import dataloader, distill, lr_multiplier, model, optimizer, train

model.student = slim_fcos(depth=18, width=32, channels=64, num_convs=2)
model.teacher = L(load_teacher)(
    model=teacher.student, weights="output/shapes/fcos_teacher_r50/model_final.pth", input_format="BGR"
)
levels = ["p3", "p4", "p5"]
model.points = diffkd_points(levels, student_channels=64, teacher_channels=96, weight=5.0)
train.output_dir = "output/shapes/fcos_diffkd_r18"
