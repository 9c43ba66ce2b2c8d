"""What each method's forward pass keeps for its backward pass, beside the student's own.

python tests/helpers/method_memory.py       # the table of docs/methods.md; about half a minute, 6 GB
"""

from collections.abc import Callable

import torch
from detectors import batch
from detectron2.utils.events import EventStorage
from memory import saved_bytes
from torch import Tensor, nn

from diffkd_d2.distillers import (
    DIST,
    DKD,
    KD,
    ChannelWise,
    CrossAttention,
    DeepMimic,
    DiffKD,
    FocalGlobal,
    MaskedGenerative,
    Mimic,
    Pairwise,
    Pearson,
    QualityFocalKD,
    Review,
    ScoreMimic,
)
from diffkd_d2.modeling.yaml_model import yaml_model

SIZE, STRIDES, WIDTH = (800, 1344), (8, 16, 32, 64, 128), 256
ANCHOR_CLASSES, ROWS, ROI_CLASSES = 720, 512, 81
# `floor_bytes` of the students, measured by `main`.
FLOOR = {"retinanet": 1_214e6, "faster_rcnn": 746e6}

ON_MAPS: dict[str, Callable[[], nn.Module]] = {
    "`Mimic`": lambda: Mimic(WIDTH, WIDTH),
    "`Pearson`": lambda: Pearson(WIDTH, WIDTH),
    "`ChannelWise`": lambda: ChannelWise(WIDTH, WIDTH),
    "`MaskedGenerative`": lambda: MaskedGenerative(WIDTH, WIDTH),
    "`FocalGlobal`": lambda: FocalGlobal(WIDTH, WIDTH),
    "`ScoreMimic`": lambda: ScoreMimic(WIDTH, WIDTH),
    "`Review`": lambda: Review(WIDTH, WIDTH, len(STRIDES)),
    "`CrossAttention`": lambda: CrossAttention(WIDTH, WIDTH),
    "`Pairwise`": Pairwise,
    f"`QualityFocalKD`, {ANCHOR_CLASSES} channels": QualityFocalKD,
    "`DeepMimic`": lambda: DeepMimic(WIDTH, WIDTH),
    "`DeepMimic`, `latent_channels=64`": lambda: DeepMimic(WIDTH, WIDTH, 64),
    "`DiffKD`": lambda: DiffKD(WIDTH, WIDTH),
    "`DiffKD`, `latent_channels=64`": lambda: DiffKD(WIDTH, WIDTH, 64),
}
ON_ROWS: dict[str, Callable[[], nn.Module]] = {
    f"`KD`, {ROWS} ROI rows of {ROI_CLASSES} classes": KD,
    "`DKD`, the same": DKD,
    "`DIST`, the same": DIST,
}
NAMES = [*ON_MAPS, *ON_ROWS]


def kept(name: str, shrink: int = 1) -> int:
    """Return the bytes for one image of 800x1344 whose sides are divided by `shrink`, without weights and inputs."""
    channels = ANCHOR_CLASSES if name.startswith("`QualityFocalKD`") else WIDTH
    shapes = [(1, channels, *(-(-n // shrink // stride) for n in SIZE)) for stride in STRIDES]
    if name in ON_ROWS:
        shapes = [(ROWS, ROI_CLASSES, 1, 1)]
    make = {**ON_MAPS, **ON_ROWS}[name]
    student, teacher = [torch.randn(s, requires_grad=True) for s in shapes], [torch.randn(s) for s in shapes]
    if isinstance(make(), Review | QualityFocalKD):
        distillers, calls = [make()], [(student, teacher)]
    else:
        distillers, calls = [make() for _ in shapes], list(zip(student, teacher, strict=True))
    known = {
        "boxes": [torch.tensor([[0.0, 0.0, 4.0, 4.0]])],
        "labels": torch.randint(ROI_CLASSES, (ROWS,)),
    }
    inputs: list[Tensor] = [*student, *(p for d in distillers for p in [*d.parameters(), *d.buffers()])]
    losses = []

    def forward() -> None:
        for distiller, pair in zip(distillers, calls, strict=True):
            scores = torch.rand_like(pair[0][:, :1]) if "scores" in getattr(distiller, "needs", ()) else None
            needed = {need: {**known, "scores": scores}[need] for need in getattr(distiller, "needs", ())}
            losses.append(distiller(*pair, **needed))

    return saved_bytes(forward, without=inputs)


def floor_bytes(config: str) -> int:
    """Return the bytes that the student's own forward pass keeps at the full size, weights left out."""
    model = yaml_model(config).train()
    losses = []
    with EventStorage():
        return saved_bytes(lambda: losses.append(model(batch(SIZE))), without=[*model.parameters(), *model.buffers()])


def ratio(name: str, size: int) -> float:
    """Return the memory of the student's step with a method over that without, from the bytes that the method keeps."""
    return 1 + size / FLOOR["faster_rcnn" if name in ON_ROWS else "retinanet"]


def main() -> None:
    """Print the table."""
    torch.manual_seed(0)
    for name, config in (("retinanet", "retinanet_R_50_FPN_1x"), ("faster_rcnn", "faster_rcnn_R_50_FPN_1x")):
        print(f"{name}: {floor_bytes(f'COCO-Detection/{config}.yaml') / 1e6:,.0f} MB")
    print("| class | MB | times the floor |\n|---|---|---|")
    for name in NAMES:
        size = kept(name)
        print(f"| {name} | {size / 1e6:.1f} | {ratio(name, size):.2f} |")


if __name__ == "__main__":
    main()
