"""The further inputs that a distiller may need besides the pair of features: boxes, labels, scores."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import UserError, nearest

NEEDS = ("boxes", "labels", "scores")
IGNORED = 255
"""Class of the positions of a label map outside of the image; Detectron2 uses the same value."""

Size = tuple[int, int]


def needs_of(distiller: nn.Module) -> tuple[str, ...]:
    """Return the `needs` of a distiller's class, a subset of `NEEDS`.

    Raises:
        UserError: if it names anything else.
    """
    needs = getattr(distiller, "needs", ())
    needs = (needs,) if isinstance(needs, str) else tuple(needs)
    unknown = [name for name in needs if name not in NEEDS]
    if unknown:
        raise UserError(f"{type(distiller).__name__} needs '{unknown[0]}'{nearest(unknown[0], list(NEEDS))}")
    return needs


def inputs_for(
    needs: Sequence[str],
    feature: Tensor,
    stride: Size | None,
    batched_inputs: Any,
    labels: Tensor | None = None,
    scores: Tensor | None = None,
) -> dict[str, Any]:
    """Return the further inputs of a distiller by name, for one pair of features.

    Args:
        needs: names from `NEEDS`.
        feature: the student's, (N, C, H, W), or (R, C, 1, 1) for rows.
        stride: pixels per position of a map; None for rows.
        batched_inputs: what the models were called with.
        labels: classes of the rows of an ROI point; None for any other point.
        scores: class logits of the teacher, (N, A K, H', W'); None if the point names none.

    Raises:
        UserError: if the inputs do not contain them.
    """
    size, device = (feature.shape[2], feature.shape[3]), feature.device
    given: dict[str, Any] = {}
    if stride is None and {"boxes", "scores"} & set(needs):
        raise UserError("boxes and scores are for maps (N, C, H, W) of whole images")
    if "boxes" in needs and stride is not None:
        given["boxes"] = boxes_on_map(batched_inputs, stride, device)
    if "scores" in needs and scores is not None:
        given["scores"] = largest_score(scores, size)
    if "labels" in needs and labels is not None:
        # If no box was sampled, the features have one masked row (see `same_rows`).
        given["labels"] = labels if len(labels) else labels.new_zeros(1)
    elif "labels" in needs and stride is not None and all("sem_seg" in x for x in batched_inputs):
        given["labels"] = labels_on_map(batched_inputs, stride, size, device)
    elif "labels" in needs:
        given["labels"] = targets(batched_inputs, device)
    return given


def boxes_on_map(batched_inputs: list[dict[str, Any]], stride: Size, device: torch.device) -> list[Tensor]:
    """Return the ground-truth boxes of each image, (n_i, 4) float32, XYXY in positions of a map.

    Args:
        batched_inputs: Detectron2's list of dicts, with `instances`.
        stride: pixels per position along height and width.
        device: device of the result.

    Raises:
        UserError: if there are no ground-truth boxes, or they are rotated.
    """
    try:
        boxes = [x["instances"].gt_boxes.tensor for x in batched_inputs]
    except (KeyError, TypeError, AttributeError):
        raise UserError("the distiller needs boxes, the inputs have no instances with gt_boxes") from None
    if any(b.shape[1] != 4 for b in boxes):
        raise UserError("the distiller needs boxes (x0, y0, x1, y1), the inputs have rotated ones")
    pixels = torch.tensor([stride[1], stride[0], stride[1], stride[0]], dtype=torch.float32)
    return [(b / pixels.to(b.device)).to(device, non_blocking=True) for b in boxes]


def labels_of_rows(heads: Any, stage: int, boxes: Sequence[Any], batched_inputs: list[dict[str, Any]]) -> Tensor:
    """Return the classes (R,) that Detectron2's ROI heads gave the boxes that they sampled and pooled.

    Each box is matched independently of the others, so matching the pooled boxes again gives the same classes: the
    object's class, `num_classes` for background, -1 for ignored boxes.

    Args:
        heads: StandardROIHeads or CascadeROIHeads.
        stage: the stage of a cascade; each stage has its own matcher.
        boxes: `Boxes` of each image, in pixels, as passed to the pooler.
        batched_inputs: Detectron2's list of dicts, with `instances`.
    """
    matchers = getattr(heads, "proposal_matchers", None)
    matcher = heads.proposal_matcher if matchers is None else matchers[stage]
    labels = []
    for of_image, inputs in zip(boxes, batched_inputs, strict=True):
        known = inputs["instances"]
        if of_image.tensor.shape[1] != 4:
            raise UserError("the distiller needs classes of boxes, not of rotated boxes: take kd, lskd or dist")
        truth, classes = (x.to(of_image.tensor.device) for x in (known.gt_boxes.tensor, known.gt_classes))
        index, quality = matcher(_pairwise_iou(truth, of_image.tensor))
        if len(truth) == 0:
            labels.append(torch.full_like(index, heads.num_classes))
            continue
        matched = classes[index]
        matched = torch.where(quality == 0, heads.num_classes, matched)
        labels.append(torch.where(quality == -1, -1, matched))
    return torch.cat(labels)


def labels_on_map(batched_inputs: list[dict[str, Any]], stride: Size, size: Size, device: torch.device) -> Tensor:
    """Return the label map (N, 1, H, W) of int64 at a map's size: the class of the first pixel of each position.

    Args:
        batched_inputs: Detectron2's list of dicts, with `sem_seg` of shape (h, w).
        stride: pixels per position along height and width.
        size: H and W. Positions outside of an image get the class `IGNORED`.
        device: device of the result.
    """
    maps = []
    for x in batched_inputs:
        labels = x["sem_seg"][:: stride[0], :: stride[1]][: size[0], : size[1]].long()
        padding = (0, size[1] - labels.shape[1], 0, size[0] - labels.shape[0])
        maps.append(F.pad(labels, padding, value=IGNORED))
    return torch.stack(maps)[:, None].to(device, non_blocking=True)


def targets(batched_inputs: Any, device: torch.device) -> Tensor:
    """Return a classifier's targets: classes (N,) of int64, or probabilities (N, K).

    Args:
        batched_inputs: list of dicts with `label`, or a collated dict.
        device: device of the result.

    Raises:
        UserError: if there are none.
    """
    try:
        labels = batched_inputs["label"] if isinstance(batched_inputs, dict) else [x["label"] for x in batched_inputs]
    except (KeyError, TypeError):
        raise UserError("the distiller needs labels, the inputs have neither 'sem_seg' nor 'label'") from None
    if not isinstance(labels, Tensor):
        labels = torch.stack([torch.as_tensor(label) for label in labels])
    return labels.to(device, non_blocking=True)


def largest_score(logits: Tensor, size: Size) -> Tensor:
    """Return the largest class probability (N, 1, H, W) at each position of a map, the sigmoid of the largest logit.

    Args:
        logits: (N, A K, H', W') of the teacher, at least as large as the map.
        size: H and W of the map.

    Raises:
        UserError: if the logits cover less than the map.
    """
    if logits.dim() != 4 or logits.shape[2] < size[0] or logits.shape[3] < size[1]:
        raise UserError(f"the scores {tuple(logits.shape)} do not cover a map of {size[0]}x{size[1]}")
    return logits[:, :, : size[0], : size[1]].float().sigmoid().amax(dim=1, keepdim=True)


def _pairwise_iou(a: Tensor, b: Tensor) -> Tensor:
    """Return the intersection over union (n, m) of boxes a (n, 4) and b (m, 4), XYXY; 0 where they do not overlap."""
    area_a, area_b = ((x[:, 2] - x[:, 0]) * (x[:, 3] - x[:, 1]) for x in (a, b))
    sides = torch.minimum(a[:, None, 2:], b[:, 2:]) - torch.maximum(a[:, None, :2], b[:, :2])
    intersection = sides.clamp(min=0).prod(dim=2)
    union = area_a[:, None] + area_b - intersection
    return torch.where(intersection > 0, intersection / union, 0.0)
