"""Optimizers with separate parameter groups for student and distillers."""

import torch
from detectron2.config import LazyCall as L

from diffkd_d2.engine.optimizer import distill_optimizer_params

SGD = L(torch.optim.SGD)(
    params=L(distill_optimizer_params)(base_lr="${..lr}", distiller_lr_factor=1.0, weight_decay_norm=0.0),
    lr=0.02,
    momentum=0.9,
    weight_decay=1e-4,
    fused=True,  # see docs/performance.md
)

AdamW = L(torch.optim.AdamW)(
    params=L(distill_optimizer_params)(base_lr="${..lr}", distiller_lr_factor=1.0, weight_decay_norm=0.0),
    lr=1e-3,
    weight_decay=1e-2,
    fused=True,
)

Adam = L(torch.optim.Adam)(
    params=L(distill_optimizer_params)(base_lr="${..lr}", distiller_lr_factor=1.0),
    lr=1e-3,
    fused=True,
)
