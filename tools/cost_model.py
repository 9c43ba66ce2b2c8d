"""What DiffKD on feature maps costs, by formula: multiply-accumulates and bytes kept for the backward pass.

`tests/test_cost.py` holds both against what torch counts; `docs/performance.md` says how to plan a run with them.
"""

import torch
from torch.utils.flop_counter import FlopCounterMode

from diffkd_d2.distillers import DiffKD


def flop_counter() -> FlopCounterMode:
    """Return torch's counter; by itself it does not know `addmm_`."""

    def addmm(_: tuple, a: tuple[int, int], b: tuple[int, int], **options: object) -> int:
        return 2 * a[0] * a[1] * b[1]

    return FlopCounterMode(display=False, custom_mapping={torch.ops.aten.addmm_: addmm})


def _widths(distiller: DiffKD) -> tuple[int, int, int, int]:
    return (
        distiller.student_channels,
        distiller.teacher_channels,
        distiller.proj[0].out_channels,
        len(distiller.timesteps),
    )


def forward_macs(distiller: DiffKD, positions: int) -> int:
    """Return the multiply-accumulates of convolutions and matrix products in one forward pass.

    Args:
        distiller: on feature maps, with batch norm.
        positions: N x H x W of the map that it works on (after `stride`), at least 2^18 / C: on smaller maps norms
            are not folded, and more is kept per position.
    """
    student, teacher, c, steps = _widths(distiller)
    quarter, eighth = max(c // 4, 1), max(c // 8, 1)
    # 1x1, 3x3, the covariance that folds the norm; the last 1x1 is only done on the pooled map in the matcher.
    matcher = c * eighth + 10 * eighth**2
    # Twice that; the second 1x1 and the last convolution also read the narrow maps of the bottlenecks before them.
    denoiser = 2 * (c * quarter + 10 * quarter**2) + quarter**2 + c * c + 2 * c * quarter
    autoencoder = 2 * teacher * c if distiller.autoencoder else 0
    return positions * (student * c + matcher + (steps + 1) * denoiser + c * c + autoencoder)


def saved_bytes(distiller: DiffKD, positions: int) -> int:
    """Return the bytes of float32 maps that a forward pass keeps for the backward pass; arguments as above.

    A pass through the denoiser keeps 4 maps of C channels, or 1 if it is recomputed.
    """
    student, teacher, c, steps = _widths(distiller)
    eighth = max(c // 8, 1)
    denoiser = c if distiller.recompute else 2 * c + 8 * max(c // 4, 1)
    # The aligned map, two noises, the predicted noise, and of the projection input, output, norm and target.
    fixed = student + 8 * c + 4 * eighth
    autoencoder = 2 * teacher + c if distiller.autoencoder else 0
    return 4 * positions * ((steps + 1) * denoiser + fixed + autoencoder)
