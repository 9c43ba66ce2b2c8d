"""The objects of `shapes` with their extreme points as keypoints."""

from detectron2.data.detection_utils import create_keypoint_hflip_indices

from ....configs.common.data.shapes import dataloader

dataloader.train.mapper.use_keypoint = True
dataloader.train.mapper.keypoint_hflip_indices = create_keypoint_hflip_indices("shapes_train")
dataloader.evaluator.tasks = ["bbox", "keypoints"]
# COCO measured the spread of its annotators per keypoint (0.03 to 0.11); these points are exact: its middle.
dataloader.evaluator.kpt_oks_sigmas = [0.05] * 4
