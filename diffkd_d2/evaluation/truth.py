"""Make the predictions of a perfect model from annotations, to try an evaluator with them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from detectron2.structures import Boxes, BoxMode, Instances


def true_instances(
    size: tuple[int, int],
    objects: Sequence[Mapping[str, Any]],
    classes: Sequence[int],
    to_mask: Callable[[Any], np.ndarray] | None = None,
    keypoints: bool = False,
) -> Instances:
    """Return the objects of an image as predictions with a score of 1.

    Args:
        size: height and width of the image.
        objects: COCO's annotations, with boxes XYWH in pixels.
        classes: class index of each object.
        to_mask: function from an annotation to its mask (H, W). If None, no masks are predicted.
        keypoints: whether keypoints are predicted.
    """
    found = Instances(size)
    boxes = np.array([a["bbox"] for a in objects], dtype=np.float64).reshape(-1, 4)
    found.pred_boxes = Boxes(torch.as_tensor(BoxMode.convert(boxes, BoxMode.XYWH_ABS, BoxMode.XYXY_ABS)))
    found.scores = torch.ones(len(objects))
    found.pred_classes = torch.tensor(list(classes))
    if to_mask is not None:
        found.pred_masks = torch.as_tensor(np.stack([to_mask(a) for a in objects]).astype(bool))
    if keypoints:
        found.pred_keypoints = torch.tensor([a["keypoints"] for a in objects]).reshape(len(objects), -1, 3) + 0.5
    return found
