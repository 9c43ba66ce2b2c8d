"""Every method, small, with inputs that it takes."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from diffkd_d2.distillers import (
    DIST,
    DKD,
    KD,
    ChannelWise,
    CrossAttention,
    DeepMimic,
    FocalGlobal,
    MaskedGenerative,
    Mimic,
    Pairwise,
    Pearson,
    QualityFocalKD,
    Review,
    ScoreMimic,
)

STUDENT, TEACHER, CLASSES = 6, 8, 5
NUM_LEVELS = 3
FEATURES: dict[str, Callable[[int, int], nn.Module]] = {
    "ChannelWise": ChannelWise,
    "CrossAttention": CrossAttention,
    "DeepMimic": DeepMimic,
    "FocalGlobal": FocalGlobal,
    "MaskedGenerative": MaskedGenerative,
    "MaskedGenerative, mean": lambda s, t: MaskedGenerative(s, t, ratio=0.0, reduction="mean"),
    "Mimic": Mimic,
    "Pairwise": lambda s, t: Pairwise(),
    "Pearson": Pearson,
    "Review": lambda s, t: Review(s, t, NUM_LEVELS, inner_channels=8),
    "ScoreMimic": ScoreMimic,
}
LOGITS: dict[str, Callable[[], nn.Module]] = {
    "DIST": DIST,
    "DKD": DKD,
    "DKD, standardized": lambda: DKD(standardize=True),
    "KD": KD,
    "KD, standardized": lambda: KD(standardize=True),
    "QualityFocalKD": QualityFocalKD,
}
NAMES = [*FEATURES, *LOGITS]


class Case(NamedTuple):
    """A distiller and what it is called with: maps, or lists of maps for `Review`."""

    distiller: nn.Module
    student: list[Tensor]
    teacher: list[Tensor]
    needed: dict[str, Any]

    def loss(self, masks: list[Tensor | None], size: tuple[int, int] | None = None) -> dict[str, Tensor]:
        """Call the distiller; `size` crops all maps, the first level to this, the others by halves."""
        needed = {k: v[..., : size[0], : size[1]] if size and k != "boxes" else v for k, v in self.needed.items()}
        maps = [self.student, self.teacher, masks]
        if size:
            maps = [[x if x is None else crop(x, size, i) for i, x in enumerate(of)] for of in maps]
        return self.distiller(*(maps if isinstance(self.distiller, Review) else [x[0] for x in maps]), **needed)


def crop(x: Tensor, size: tuple[int, int], level: int) -> Tensor:
    """Return the top left of a map; `size` is that of level 0."""
    height, width = (-(-n // 2**level) for n in size)
    return x[..., :height, :width]


def masks(sizes: list[tuple[int, int]], shape: tuple[int, int], levels: int) -> list[Tensor]:
    """Return a mask for each level: of each image, the first positions count."""
    made = []
    for level in range(levels):
        mask = torch.zeros(len(sizes), 1, *(-(-n // 2**level) for n in shape))
        for of_image, size in zip(mask, sizes, strict=True):
            crop(of_image, size, level).fill_(1)
        made.append(mask)
    return made


def case(name: str, shape: tuple[int, int] = (12, 16), dtype: torch.dtype = torch.float32, images: int = 2) -> Case:
    """Return a method with random weights and random inputs; student's maps carry a gradient."""
    distiller = FEATURES[name](STUDENT, TEACHER) if name in FEATURES else LOGITS[name]()
    channels = (STUDENT, TEACHER) if name in FEATURES else (CLASSES, CLASSES)
    with torch.no_grad():
        for parameter in distiller.parameters():
            parameter.normal_(std=0.3)
    levels = NUM_LEVELS if isinstance(distiller, Review) else 1
    sizes = [[-(-n // 2**level) for n in shape] for level in range(levels)]
    student, teacher = ([torch.randn(images, c, *size, dtype=dtype) for size in sizes] for c in channels)
    every = {
        "boxes": [torch.tensor([[0.5, 1.0, 4.2, 5.0], [2.0, 2.5, 8.0, 7.5]], dtype=dtype)] * (images - 1)
        + [torch.zeros(0, 4, dtype=dtype)],
        "scores": torch.rand(images, 1, *shape, dtype=dtype),
        "labels": torch.randint(CLASSES, (images, 1, *shape)),
    }
    needed = {need: every[need] for need in getattr(distiller, "needs", ())}
    return Case(distiller.to(dtype), [x.requires_grad_() for x in student], teacher, needed)
