"""Distances that distillers share, in at least float32; positions outside the mask do not count."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..diffusion import full_precision


def visible(x: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return x (N, C, H, W) in float32 or float64, with zeros where `mask` (N, 1, H, W) is 0, even for NaN."""
    x = full_precision(x)
    return x if mask is None else x.masked_fill(mask == 0, 0.0)


def ones_or(mask: Tensor | None, x: Tensor) -> Tensor:
    """Return the mask (N, 1, H, W) in the dtype of x (N, C, H, W). If the mask is None, return ones."""
    return torch.ones_like(x[:, :1]) if mask is None else mask.to(x.dtype)


def masked_mse(pred: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return the mean squared error of two maps (N, C, H, W) over the positions where `mask` (N, 1, H, W) is set."""
    # The gradient of a loss gets the order of axes in which the loss reads them; here it is channels_last.
    pred, target = (full_precision(x).permute(0, 2, 3, 1) for x in (pred, target))
    if mask is None:
        return F.mse_loss(pred, target)
    error = F.mse_loss(pred, target, reduction="none").mean(dim=3)
    return masked_mean(error[:, None], mask)


def masked_kl(student: Tensor, teacher: Tensor, tau: float, mask: Tensor | None = None) -> Tensor:
    """Return KL(teacher || student) of logits (N, C, H, W) softened by `tau`, times tau^2 (Hinton, 1503.02531)."""
    log_student = F.log_softmax(full_precision(student) / tau, dim=1)
    log_teacher = F.log_softmax(full_precision(teacher) / tau, dim=1)
    error = F.kl_div(log_student, log_teacher, reduction="none", log_target=True).sum(dim=1, keepdim=True)
    return tau**2 * masked_mean(error, mask)


def as_maps(*logits: Tensor) -> list[Tensor]:
    """Return logits (N, K) or (N, K, H, W) as (N, K, H, W)."""
    return [x[:, :, None, None] if x.dim() == 2 else x for x in logits]


def standardize_logits(logits: Tensor) -> Tensor:
    """Return logits (N, K, H, W) with mean 0 and standard deviation 1 over the classes (LSKD, 2403.01427)."""
    centred = logits - logits.mean(dim=1, keepdim=True)
    variance = centred.square().sum(dim=1, keepdim=True) / max(logits.shape[1] - 1, 1)
    return centred / (1e-7 + standard_deviation(variance))


def standard_deviation(variance: Tensor) -> Tensor:
    """Return the square root of a variance, with gradient 0 at 0 (the gradient of `sqrt` is infinite there)."""
    return variance.clamp(min=torch.finfo(variance.dtype).tiny).sqrt()


def check_channels(what: str, feature: Tensor, channels: int) -> None:
    """Raise ValueError if the number of channels of a feature (N, C, ...) is not that of the config."""
    if feature.shape[1] != channels:
        raise ValueError(f"the {what}'s feature has {feature.shape[1]} channels, the config says {channels}")


def masked_mean(error: Tensor, mask: Tensor | None) -> Tensor:
    """Return the mean of error (N, 1, H, W) over the positions where `mask` (N, 1, H, W) is set."""
    if mask is None:
        return error.mean()
    mask = mask.to(error.dtype)
    return (error * mask).sum() / mask.sum().clamp(min=1)
