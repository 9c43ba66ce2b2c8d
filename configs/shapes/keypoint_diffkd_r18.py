"""DiffKD on P2 to P6: Keypoint R-CNN slim R18 from slim R50; train keypoint_teacher_r50.py first."""

from detectron2.config import LazyCall as L

from diffkd_d2.modeling.teacher import load_teacher

from ..common.data.shapes_keypoints import dataloader
from ..common.models.slim_faster_rcnn import slim_keypoint_rcnn
from .keypoint_teacher_r50 import model as teacher
from .panoptic_diffkd_r18 import distill, lr_multiplier, model, optimizer, train

model.student = slim_keypoint_rcnn(depth=18, width=32, channels=64)
model.teacher = L(load_teacher)(model=teacher.student, weights="output/shapes/keypoint_teacher_r50/model_final.pth")
train.output_dir = "output/shapes/keypoint_diffkd_r18"
