"""Distances that distillers share; all in float32, and positions outside the mask do not count."""

import torch.nn.functional as F
from torch import Tensor

from ..diffusion import full_precision


def masked_mse(pred: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean squared error of two maps (N, C, H, W) over the positions where `mask` (N, 1, H, W) is set."""
    # Channels last: torch lays the gradient of a loss out as it reads the axes, not as the prediction lies in memory.
    pred, target = (full_precision(x).permute(0, 2, 3, 1) for x in (pred, target))
    if mask is None:
        return F.mse_loss(pred, target)
    error = F.mse_loss(pred, target, reduction="none").mean(dim=3)
    return _masked_mean(error[:, None], mask)


def masked_kl(student: Tensor, teacher: Tensor, tau: float, mask: Tensor | None = None) -> Tensor:
    """KL(teacher || student) of logits (N, C, H, W) softened by `tau`, times tau^2 (Hinton, 1503.02531)."""
    log_student = F.log_softmax(full_precision(student) / tau, dim=1)
    log_teacher = F.log_softmax(full_precision(teacher) / tau, dim=1)
    error = F.kl_div(log_student, log_teacher, reduction="none", log_target=True).sum(dim=1, keepdim=True)
    return tau**2 * _masked_mean(error, mask)


def check_channels(what: str, feature: Tensor, channels: int) -> None:
    """Raise ValueError where a feature (N, C, ...) has another number of channels than the config says."""
    if feature.shape[1] != channels:
        raise ValueError(f"the {what}'s feature has {feature.shape[1]} channels, the config says {channels}")


def _masked_mean(error: Tensor, mask: Tensor | None) -> Tensor:
    if mask is None:
        return error.mean()
    mask = mask.to(error.dtype)
    return (error * mask).sum() / mask.sum().clamp(min=1)
