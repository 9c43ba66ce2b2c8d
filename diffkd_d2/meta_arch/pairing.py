"""Make a student and a teacher output comparable: select the tensor, crop to the common area, mask the padding."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..errors import UserError, nearest


def pick(output: Any, path: tuple[str | int, ...], who: str) -> Tensor:
    """Return the tensor at `path` inside what a module of `who` ("student", "teacher") returned.

    Raises:
        UserError: if there is nothing at `path`, or no tensor; the message lists what there is.
    """
    for key in path:
        try:
            output = output[key]
        except (KeyError, IndexError, TypeError):
            keys = range(len(output)) if isinstance(output, list | tuple) else [f"a {type(output).__name__}"]
            there = map(str, output if isinstance(output, dict) else keys)
            raise UserError(f"the {who}'s output has no '{key}'{nearest(str(key), list(there))}") from None
    if not isinstance(output, Tensor):
        inside = f" with {list(output)}" if isinstance(output, dict) else ""
        raise UserError(f"the {who}'s output is a {type(output).__name__}{inside}, not a tensor: give a key")
    return output


def take_channels(feature: Tensor, channels: Sequence[int], total: int) -> Tensor:
    """Return the given channels of a feature (N, C, ...); raise UserError if C is not `total`."""
    if total != feature.shape[1]:
        raise UserError(f"the list of classes makes {total} channels, there are {feature.shape[1]}")
    return feature[:, list(channels)]


def is_map(student: Tensor, teacher: Tensor, count: int | None, rows: bool) -> bool:
    """Return whether the pair is maps (N, C, H, W) of whole images, not rows (R, C, ...) of boxes or samples.

    Args:
        student: what the student returned.
        teacher: what the teacher returned.
        count: number of images in the batch. None if unknown; maps then count as rows.
        rows: whether the pair comes from an ROI branch, which has as many rows as the student has boxes.

    Raises:
        UserError: if a tensor is neither, such as query logits, stacks of layers or tokens; its axes are not guessed.
    """
    for who, feature in (("student", student), ("teacher", teacher)):
        shape = tuple(feature.shape)
        if feature.dim() not in (2, 4):
            raise UserError(
                f"the {who}'s output {shape} is neither maps (N, C, H, W) nor rows (N, C): query logits, stacks of "
                "layers and tokens cannot be paired"
            )
        if count is not None and not rows and len(feature) != count:
            raise UserError(
                f"the {who}'s output {shape} has not one entry for each of {count} images: stacks of layers, queries, "
                "and branches that only training has cannot be paired, and rows of boxes need roi=RoiBranch(...)"
            )
    return not rows and count is not None and student.dim() == teacher.dim() == 4


def same_rows(student: Tensor, teacher: Tensor) -> tuple[list[Tensor], Tensor | None]:
    """Check two tensors (R, C, ...) whose rows are boxes or samples; (R, C) becomes (R, C, 1, 1).

    If there is no row (no box was sampled), return one masked row: the losses are zero, and every parameter still
    gets the gradient that DDP waits for.
    """
    if student.shape[2:] != teacher.shape[2:] or len(student) != len(teacher):
        raise UserError(f"student {tuple(student.shape)} and teacher {tuple(teacher.shape)} do not match")
    pair = [f[:, :, None, None] if f.dim() == 2 else f for f in (student, teacher)]
    if len(student):
        return pair, None
    pair = [f.new_zeros(1, *f.shape[1:]) + f.sum() for f in pair]
    return pair, pair[0].new_zeros(1, 1, *pair[0].shape[2:])


def sizes_of_images(batched_inputs: Any) -> list[tuple[int, int]] | None:
    """Return (height, width) of each image, or None for inputs that are not Detectron2's list of dicts."""
    try:
        return [tuple(x["image"].shape[-2:]) for x in batched_inputs]
    except (TypeError, KeyError, AttributeError, IndexError):
        return None


def stride_of(
    student: Tensor, teacher: Tensor, image_sizes: list[tuple[int, int]], declared: int | None = None
) -> tuple[int, int]:
    """Return the stride of two maps (N, C, H, W) along height and width.

    Args:
        student: map of the student.
        teacher: map of the teacher.
        image_sizes: (height, width) in pixels of each image before padding.
        declared: the stride, if it is known. If None, it is estimated; the estimate is wrong for a model that pads
            small images to a large square.

    Raises:
        UserError: if the estimates for student and teacher differ.
    """
    if declared:
        return declared, declared
    largest = [max(size[axis] for size in image_sizes) for axis in (0, 1)]
    strides = [_stride(x, largest) for x in (student, teacher)]
    if strides[0] != strides[1]:
        raise UserError(
            f"student {tuple(student.shape)} and teacher {tuple(teacher.shape)} have different strides "
            f"({strides[0]} and {strides[1]}) on images of {largest[0]}x{largest[1]} pixels"
        )
    return strides[0]


def common_area(
    student: Tensor, teacher: Tensor, image_sizes: list[tuple[int, int]], stride: tuple[int, int]
) -> tuple[list[Tensor], Tensor | None]:
    """Crop two maps (N, C, H, W) of the same stride to their common area; mask the padding.

    Returns:
        the two crops, and the mask (N, 1, H, W), 1 on the image and 0 on padding, or None if there is no padding.
    """
    height, width = (min(a, b) for a, b in zip(student.shape[2:], teacher.shape[2:], strict=True))
    valid = [(math.ceil(h / stride[0]), math.ceil(w / stride[1])) for h, w in image_sizes]
    pair = [f[:, :, :height, :width] for f in (student, teacher)]
    if all(h >= height and w >= width for h, w in valid):
        return pair, None
    mask = torch.zeros(len(valid), 1, height, width)
    for i, (h, w) in enumerate(valid):
        mask[i, :, :h, :w] = 1
    return pair, mask.to(student.device, non_blocking=True)


def subsample(first: Tensor, *others: Tensor | None, step: int) -> list[Any]:
    """Return every `step`-th position of maps (N, C, H, W) of the same size along both axes, from a random offset.

    All maps share the offset. A map that is None stays None. The offset is drawn on the CPU, because reading it from
    the device would synchronise with the device.
    """
    y, x = (int(torch.randint(min(step, size), ())) for size in first.shape[2:])
    return [None if m is None else m[:, :, y::step, x::step] for m in (first, *others)]


def _stride(feature: Tensor, image_size: list[int]) -> tuple[int, int]:
    """Return the pixels per position along each axis, rounded to a power of two.

    Padding makes the map larger, hence the ratio smaller than the stride, so round up. Subtracting 0.1 tolerates
    layers that round a size down.
    """
    ratios = [size / n for size, n in zip(image_size, feature.shape[2:], strict=True)]
    height, width = (2 ** math.ceil(math.log2(ratio) - 0.1) for ratio in ratios)
    return height, width
