"""A teacher of the extreme points of `shapes`: Keypoint R-CNN on a slim ResNet-50."""

from ..common.data.shapes_keypoints import dataloader
from ..common.models.slim_faster_rcnn import slim_keypoint_rcnn
from .panoptic_teacher_r50 import distill, lr_multiplier, model, optimizer, train

model.student = slim_keypoint_rcnn(depth=50, width=24, channels=96)
dataloader.train.total_batch_size = 16
train.output_dir = "output/shapes/keypoint_teacher_r50"
