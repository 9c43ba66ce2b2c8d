"""Make a faster copy of a frozen teacher: norms folded into convolutions, weights in channels_last."""

import copy
import logging
from collections.abc import Iterable

import torch
from detectron2.layers import Conv2d, DeformConv, FrozenBatchNorm2d, ModulatedDeformConv
from torch import nn

logger = logging.getLogger(__name__)


def fold_frozen_norms(teacher: nn.Module, captured: Iterable[str]) -> nn.Module:
    """Return a copy of `teacher` that computes the same outputs faster; the teacher itself does not change.

    FrozenBatchNorm2d and BatchNorm2d norms of a Detectron2 `Conv2d` become part of its weight and bias; the outputs
    agree within 4e-6 of their largest value in float32. Other norms stay. The weights of convolutions are in
    channels_last, unless the teacher has deformable convolutions, whose CUDA code needs contiguous tensors.

    Args:
        teacher: a frozen model in eval mode, with its final weights.
        captured: paths of the captured modules, as in `named_modules()`. If one of them is a norm that would be folded,
            return the teacher itself and log why.
    """
    pairs = {path: conv for path, conv in teacher.named_modules() if _is_foldable(conv)}
    inside = sorted(set(captured) & {f"{path}.norm" for path in pairs})
    if inside:
        logger.info(f"The teacher's norms are not folded: folding would remove captured modules: {', '.join(inside)}")
        return teacher
    folded = copy.deepcopy(teacher)
    for path in pairs:
        _fold(folded.get_submodule(path))
    if not any(isinstance(m, DeformConv | ModulatedDeformConv) for m in folded.modules()):
        for module in folded.modules():
            if isinstance(module, nn.Conv2d):
                module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last)
    logger.info(f"{len(pairs)} norms of the teacher are folded into the convolutions of a copy")
    return folded


def _is_foldable(module: nn.Module) -> bool:
    norm = getattr(module, "norm", None) if isinstance(module, Conv2d) else None
    # Exact types, because a subclass may compute something else.
    return type(norm) is FrozenBatchNorm2d or (type(norm) is nn.BatchNorm2d and norm.running_mean is not None)


@torch.no_grad()
def _fold(conv: Conv2d) -> None:
    """Fold the norm of `conv` into its weight and bias."""
    norm = conv.norm
    scale = (norm.running_var + norm.eps).rsqrt()
    scale = scale if norm.weight is None else scale * norm.weight
    shift = -norm.running_mean * scale
    shift = shift if norm.bias is None else shift + norm.bias
    bias = shift if conv.bias is None else shift + conv.bias * scale
    conv.weight = nn.Parameter(conv.weight * scale[:, None, None, None], requires_grad=False)
    conv.bias = nn.Parameter(bias, requires_grad=False)
    conv.norm = None
