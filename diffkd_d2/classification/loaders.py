"""Loaders of labelled images: endless in training; in evaluation each image once. Unreadable files are reported."""

import itertools
import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from detectron2.data.build import worker_init_reset_seed
from detectron2.data.samplers import InferenceSampler, TrainingSampler
from detectron2.utils import comm
from timm.data.distributed_sampler import RepeatAugSampler
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from ..data.stream import PositionedBatches, PositionedSamples, begin, derive_seed
from ..errors import UserError
from .datasets import LabelledImages

logger = logging.getLogger(__name__)

Mix = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


class ImageLoader:
    """Batches `{"image": (N, 3, H, W), "label": (N,) or (N, K)}`; each damaged file is logged once and counted.

    Args:
        loader: a DataLoader with `Collate`.
        dataset: the images.
        max_corrupt: largest fraction of the dataset's images that may be unreadable.

    Raises:
        UserError: while iterating, if more images than `max_corrupt` allows cannot be read.
    """

    def __init__(self, loader: DataLoader, dataset: LabelledImages, max_corrupt: float):
        self.loader, self.max_corrupt = loader, max_corrupt
        self.dataset = dataset
        self.skipped: set[str] = set()
        self._rate_is_known = False

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        yield from self._readable(self.loader)

    def _readable(self, batches: Iterable[dict[str, Any]]) -> Iterator[dict[str, Tensor]]:
        for batch in batches:
            self._report(batch.pop("skipped"))
            seconds = batch.pop("seconds")
            if "image" not in batch:
                if self.dataset.train:
                    raise UserError("none of the images of a batch can be read, nor many after them")
                continue
            if not self._rate_is_known:
                self._rate_is_known = True
                rate = len(batch["image"]) / max(seconds, 1e-9)
                logger.info(f"images read and augmented: {rate:.0f} per second and worker, {self._workers()} working")
            yield batch
        if self.skipped:
            logger.warning(f"{len(self.skipped)} of {len(self.dataset)} images were skipped: they cannot be read")

    def _workers(self) -> int:
        return max(self.loader.num_workers, 1)

    def _report(self, skipped: list[str]) -> None:
        for what in skipped:
            if what not in self.skipped:
                self.skipped.add(what)
                logger.warning(f"skipped image {len(self.skipped)}: {what}")
        if len(self.skipped) > self.max_corrupt * len(self.dataset):
            raise UserError(
                f"{len(self.skipped)} of {len(self.dataset)} images cannot be read, more than "
                f"max_corrupt={self.max_corrupt:g} allows: {sorted(self.skipped)[0]}"
            )


class TrainImageLoader(ImageLoader):
    """An endless `ImageLoader` that yields the batches of `seed` from batch `start` on, with any number of workers.

    Set `seed` and `start` before iteration begins, since the workers start then.

    Args:
        dataset: with `train=True`.
        sampler: sampler with `_seed` for this process.
        batch_size: images per batch of this process.
        num_workers: number of reading processes.
        mix: Mixup or CutMix, or None.
        max_corrupt: largest fraction of the dataset's images that may be unreadable.
    """

    def __init__(
        self,
        dataset: LabelledImages,
        sampler: Sampler,
        batch_size: int,
        num_workers: int,
        mix: Mix | None,
        max_corrupt: float,
    ):
        self.seed, self.start, self.mix = 0, 0, mix
        self._samples = PositionedSamples(range(len(dataset)), dataset.__getitem__, Collate(mix))
        self._batches = PositionedBatches(sampler, batch_size)
        # One item of this loader is a whole batch, so its content does not depend on the worker.
        loader = _loader(self._samples, num_workers, sampler=self._batches, batch_size=None)
        super().__init__(loader, dataset, max_corrupt)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        setattr(self._batches.sampler, "_seed", self.seed)  # noqa: B010  the attribute of Detectron2's samplers
        yield from self._readable(begin(self.loader, self._samples, self._batches, self.seed, self.start))

    def augmentation(self) -> str:
        """Describe the transform and Mixup in one line."""
        words = " ".join(str(self.dataset.transform).split())
        repeats = getattr(self._batches.sampler, "num_repeats", 1)
        return (
            words
            + (f"; {mix_words(self.mix)}" if self.mix else "")
            + (f"; each {repeats} times" if repeats > 1 else "")
        )


class Collate:
    """Stack the items of `LabelledImages` that have an image, then mix them.

    Args:
        mix: (images, labels) -> (images, soft labels), such as `timm.data.Mixup`. If None, nothing is mixed.
    """

    def __init__(self, mix: Mix | None = None):
        self.mix = mix

    def __call__(self, items: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the batch with `skipped` (all names) and `seconds` (the sum)."""
        good = [x for x in items if "image" in x]
        batch: dict[str, Any] = dict(skipped=[name for x in items for name in x["skipped"]], seconds=0.0)
        if not good:
            return batch
        image, label = torch.stack([x["image"] for x in good]), torch.tensor([x["label"] for x in good])
        if self.mix is not None:
            image, label = self.mix(image.float(), label)
        return dict(batch, image=image, label=label, seconds=sum(x["seconds"] for x in good))


class RepeatedAugmentation(Sampler):
    """timm's repeated augmentation (1901.09335), endless: copies of one image go to different processes.

    Args:
        dataset: the images.
        num_repeats: copies of each image.
    """

    def __init__(self, dataset: LabelledImages, num_repeats: int):
        self.num_repeats, self._seed = num_repeats, 0
        # timm rounds an epoch down to a multiple of 256 images. Older versions (1.0.29) left none of fewer than 256.
        rounding = 256 if len(dataset) >= 256 else 0
        processes = (comm.get_world_size(), comm.get_rank())
        self._epoch = RepeatAugSampler(dataset, *processes, num_repeats=num_repeats, selected_round=rounding)

    def __iter__(self) -> Iterator[int]:
        for epoch in itertools.count():
            self._epoch.set_epoch(derive_seed(self._seed, epoch))
            yield from self._epoch


def build_classification_train_loader(
    dataset: LabelledImages,
    total_batch_size: int,
    num_workers: int = 0,
    mix: Mix | None = None,
    num_repeats: int = 1,
    max_corrupt: float = 0.001,
) -> TrainImageLoader:
    """Return an endless loader over shuffled images.

    Args:
        dataset: with `train=True`.
        total_batch_size: images per step, over all processes.
        num_workers: reading processes per training process; 0: the training process reads.
        mix: Mixup or CutMix on a process's batch.
        num_repeats: augmented copies of each image per epoch (repeated augmentation).
        max_corrupt: largest fraction of images that may be unreadable.

    Raises:
        UserError: if the batch size is no multiple of the processes, or is odd with `mix`, which needs pairs.
    """
    world = comm.get_world_size()
    if total_batch_size % world or total_batch_size < world:
        raise UserError(f"total_batch_size is {total_batch_size}, no multiple of the {world} processes")
    if mix is not None and total_batch_size // world % 2:
        raise UserError(f"a batch of {total_batch_size // world} images per process cannot be mixed in pairs")
    sampler = RepeatedAugmentation(dataset, num_repeats) if num_repeats > 1 else TrainingSampler(len(dataset), seed=0)
    return TrainImageLoader(dataset, sampler, total_batch_size // world, num_workers, mix, max_corrupt)


def build_classification_test_loader(
    dataset: LabelledImages, batch_size: int = 64, num_workers: int = 0, max_corrupt: float = 0.0
) -> ImageLoader:
    """Return a loader that yields each image once; the processes share the images, without padding or dropping.

    Args:
        dataset: with `train=False`.
        batch_size: images per step and process.
        num_workers: reading processes per evaluating process.
        max_corrupt: largest fraction of images that may be unreadable; they are left out of the result.
    """
    sampler = InferenceSampler(len(dataset))
    loader = _loader(dataset, num_workers, sampler=sampler, batch_size=batch_size, collate_fn=Collate())
    return ImageLoader(loader, dataset, max_corrupt)


def _loader(items: Dataset, num_workers: int, **options: Any) -> DataLoader:
    pin = torch.cuda.is_available()
    return DataLoader(items, num_workers=num_workers, pin_memory=pin, worker_init_fn=worker_init_reset_seed, **options)


def mix_words(mix: Any) -> str:
    """Describe timm's Mixup, which has no repr of its own."""
    names = ("mixup_alpha", "cutmix_alpha", "mix_prob", "switch_prob", "mode", "label_smoothing")
    return f"{type(mix).__name__}({', '.join(f'{n}={getattr(mix, n)}' for n in names if hasattr(mix, n))})"
