"""Read labelled images from folders and CIFAR's files; report unreadable images instead of raising."""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torchvision
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.datasets import ImageFolder

from ..data.images import header_of, require_8_bits
from ..datasets.shapes import generate
from ..errors import UserError

_TRIES = 100


class LabelledImages(Dataset):
    """Read, augment and label images, for the loaders of this package.

    An item is `{"image": uint8 or float (3, H, W), RGB in [0, 255], "label": int, "seconds": float, "skipped": list}`.
    `skipped` names the unreadable files, and `seconds` is the time to make the item. In training the next readable
    image replaces a damaged one; in evaluation such an item has no image.

    Args:
        source: `source[i]` returns a PIL image and its class index; it has `classes`, and `samples` if it reads files.
        transform: PIL image -> tensor, as `timm.data.create_transform(normalize=False)` makes it.
        train: whether another image replaces a damaged one.
    """

    def __init__(self, source: Any, transform: Callable[[Image.Image], Tensor], train: bool):
        self.source, self.transform, self.train = source, transform, train
        self.classes: list[str] = list(source.classes)

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> dict[str, Any]:
        start = time.perf_counter()
        skipped: list[str] = []
        for offset in range(_TRIES if self.train else 1):
            position = (index + offset) % len(self)
            try:
                image, label = self.source[position]
            except Exception as error:  # decoders raise many kinds of errors for damaged files
                skipped.append(f"{self._name(position)} ({str(error).strip() or type(error).__name__})")
                continue
            image = self.transform(image)
            return dict(image=image, label=label, skipped=skipped, seconds=time.perf_counter() - start)
        return dict(skipped=skipped)

    def _name(self, position: int) -> str:
        samples = getattr(self.source, "samples", None)
        return str(samples[position][0]) if samples else f"image {position}"


def image_folder(root: str, split: str, splits: Sequence[str] = ("train", "val")) -> ImageFolder:
    """Return the images of `root/<split>/<class>/*` (ImageNet's layout); classes are numbered alphabetically.

    Args:
        root: a path, or a folder under DETECTRON2_DATASETS.
        split: the split to read.
        splits: all existing ones of these must have the same classes.

    Raises:
        FileNotFoundError: if the folder is missing.
        UserError: if two splits have different class folders, or a class is empty.
    """
    folder = _under_datasets(root)
    own = _class_names(folder / split)
    for other in splits:
        if other != split and (folder / other).is_dir():
            there = _class_names(folder / other)
            if there != own:
                lacks = [
                    f"{a} has {sorted(x - y)[:5]} and {b} has not" for a, x, b, y in _pairs(split, own, other, there)
                ]
                raise UserError(f"dataset {folder}: the class folders differ: {'; '.join(lacks)}")
    try:
        return ImageFolder(str(folder / split), loader=_read_rgb)
    except FileNotFoundError as error:
        raise UserError(f"dataset {folder / split}: {error}") from error


def cifar(root: str, split: str, num_classes: int = 100) -> Any:
    """Return CIFAR-10 or CIFAR-100 in torchvision's layout (`cifar-10-batches-py`, `cifar-100-python`).

    Nothing is downloaded. The files are pickles; torchvision reads them only if their MD5 is the published one.

    Args:
        root: a path, or a folder under DETECTRON2_DATASETS.
        split: "train" or "val".
        num_classes: 10 or 100.

    Raises:
        UserError: if the files are missing or not the published ones.
    """
    folder = _under_datasets(root)
    kind = {10: torchvision.datasets.CIFAR10, 100: torchvision.datasets.CIFAR100}[num_classes]
    try:
        return kind(str(folder), train=split == "train", download=False)
    except RuntimeError:
        raise UserError(f"dataset: {folder / kind.base_folder} is not there, or not as published") from None


def shapes_crops(split: str) -> ImageFolder:
    """Return the classification folder of the built-in dataset `shapes`; generate it if it is missing."""
    return image_folder(str(generate(_under_datasets("")) / "cls"), split)


def _under_datasets(root: str) -> Path:
    return Path(os.environ.get("DETECTRON2_DATASETS", "datasets")) / root


def _class_names(folder: Path) -> set[str]:
    return {entry.name for entry in os.scandir(folder) if entry.is_dir()}


def _pairs(a: str, x: set[str], b: str, y: set[str]) -> list[tuple[str, set[str], str, set[str]]]:
    return [pair for pair in ((a, x, b, y), (b, y, a, x)) if pair[1] - pair[3]]


def _read_rgb(path: str) -> Image.Image:
    with Image.open(path) as image:
        require_8_bits(header_of(image))
        return image.convert("RGB")
