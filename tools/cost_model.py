"""What DiffKD on feature maps costs, by formula: multiply-accumulates and bytes kept for the backward pass.

`tests/test_cost.py` holds both against what torch counts; `docs/performance.md` says how to plan a run with them.
"""

from diffkd_d2.distillers import DiffKD


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
        positions: N x H x W of the map that it works on (after `stride`).
    """
    student, teacher, c, steps = _widths(distiller)
    quarter, eighth = max(c // 4, 1), max(c // 8, 1)
    # 1x1, 3x3, the covariance that folds the norm, 1x1; the last one only for the pooled map in the matcher.
    matcher = c * eighth + 10 * eighth**2
    denoiser = 2 * (2 * c * quarter + 10 * quarter**2) + c * c
    autoencoder = 2 * teacher * c if distiller.autoencoder else 0
    return positions * (student * c + matcher + (steps + 1) * denoiser + c * c + autoencoder)


def saved_bytes(distiller: DiffKD, positions: int) -> int:
    """Return the bytes of float32 maps that a forward pass keeps for the backward pass; arguments as above.

    A pass through the denoiser keeps 6 maps of C channels, or 1 if it is recomputed.
    """
    student, teacher, c, steps = _widths(distiller)
    eighth = max(c // 8, 1)
    denoiser = c if distiller.recompute else 4 * c + 8 * max(c // 4, 1)
    # The aligned map, two noises, the predicted noise, and of the projection input, output, norm and target.
    fixed = student + 8 * c + 4 * eighth
    autoencoder = 2 * teacher + c if distiller.autoencoder else 0
    return 4 * positions * ((steps + 1) * denoiser + fixed + autoencoder)
