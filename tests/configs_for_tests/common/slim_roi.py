"""Keypoint R-CNN and Cascade R-CNN for images of about 128 pixels, trained from scratch."""

from detectron2.layers import ShapeSpec
from detectron2.model_zoo import get_config

from ....configs.common.models.slim_faster_rcnn import slim_faster_rcnn


def slim_keypoint_rcnn(depth, width, channels, num_classes=8, num_keypoints=4):
    """Config of Keypoint R-CNN; Detectron2's has one class, a person of 17 points."""
    model = slim_faster_rcnn(depth, width, channels, num_classes=num_classes)
    keypoint = get_config("common/models/keypoint_rcnn_fpn.py").model.roi_heads
    for name in ("keypoint_in_features", "keypoint_pooler", "keypoint_head"):
        model.roi_heads[name] = keypoint[name]
    head = model.roi_heads.keypoint_head
    head.input_shape = ShapeSpec(channels=channels, height=14, width=14)
    head.num_keypoints, head.conv_dims = num_keypoints, [channels] * 2
    return model


def slim_cascade_rcnn(depth, width, channels, fc_dim=256, num_classes=8):
    """Config of Cascade R-CNN with the three stages of Detectron2's."""
    model = slim_faster_rcnn(depth, width, channels, fc_dim, num_classes)
    box_head, box_predictor = (model.roi_heads.pop(name) for name in ("box_head", "box_predictor"))
    model.roi_heads.pop("proposal_matcher")
    cascade = get_config("common/models/cascade_rcnn.py").model.roi_heads
    for name in ("_target_", "box_heads", "box_predictors", "proposal_matchers"):
        model.roi_heads[name] = cascade[name]
    model.roi_heads.box_heads = [box_head] * 3
    for predictor in model.roi_heads.box_predictors:
        predictor.input_shape = box_predictor.input_shape
    return model
