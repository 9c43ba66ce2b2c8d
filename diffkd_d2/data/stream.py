"""Detectron2's training loader, addressed by position: batch i is the same whatever was read before it.

Detectron2's sampler starts anew on resume, half-filled aspect-ratio groups are lost, and augmentations draw from
seeds of worker processes. Here the order of the samples, their groups and their random numbers are functions of a
seed and a position, so that a resumed run sees what the uninterrupted one would have seen, with any number of workers.
"""

from .. import _detectron2  # noqa: F401

# isort: split

import operator
import os
import random
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any

import numpy as np
import torch
from detectron2.data import DatasetFromList, build_detection_train_loader
from detectron2.data.common import AspectRatioGroupedDataset
from detectron2.data.samplers import TrainingSampler
from detectron2.utils import comm
from detectron2.utils.file_io import PathManager
from PIL import Image
from torch.utils.data import Dataset, Sampler, get_worker_info

from ..errors import UserError

TRIES = 100
OF_BATCH = 2**31  # separates the seeds of batches from those of samples and of steps (iteration, process)


class PositionedLoader:
    """Yields the batches of `build_detection_train_loader`, from batch `start` of the stream that `seed` makes.

    Both may be set until iteration begins, which is when the workers are started.

    Args:
        records: dataset dicts, kept as `records`.
        mapper: dataset dict -> what the model takes; a record for which it returns None gives way to a random other.
        total_batch_size: images of all processes together.
        sampler: one of Detectron2's, infinite; None: `TrainingSampler`. Where `seed_sampler` is set, `seed` seeds it.
        aspect_ratio_grouping: as in Detectron2, by the width and height of the records (of the image files, where
            the records have none).
        options: the other arguments of `build_detection_train_loader`.
    """

    def __init__(
        self,
        records: list[dict[str, Any]],
        mapper: Callable[[dict], dict | None],
        total_batch_size: int,
        sampler: Sampler | None = None,
        seed_sampler: bool = True,
        aspect_ratio_grouping: bool = True,
        collate_fn: Callable[[list], Any] | None = None,
        **options: Any,
    ):
        world = comm.get_world_size()
        if total_batch_size <= 0 or total_batch_size % world:
            raise UserError(f"total_batch_size is {total_batch_size}: expected a multiple of the {world} processes")
        self.seed, self.start = 0, 0
        self._seed_sampler = seed_sampler
        sizes = np.array([_size(r) for r in records], dtype=np.int64) if aspect_ratio_grouping else None
        self.records = DatasetFromList(records, copy=False)
        self._samples = PositionedSamples(self.records, mapper, collate_fn)
        sampler = TrainingSampler(len(records), seed=0) if sampler is None else sampler
        self._batches = PositionedBatches(sampler, total_batch_size // world, sizes)
        # One item of this loader is a whole batch, so its content does not depend on the worker that makes it.
        self._loader = build_detection_train_loader(
            dataset=self._samples,
            mapper=None,
            sampler=self._batches,
            total_batch_size=world,
            aspect_ratio_grouping=False,
            collate_fn=operator.itemgetter(0),
            **options,
        )

    def __iter__(self) -> Iterator[Any]:
        # A generator, so that no worker starts before the first batch is requested.
        if self._seed_sampler:
            self._batches.sampler._seed = self.seed
        yield from begin(self._loader, self._samples, self._batches, self.seed, self.start)


def begin(
    loader: Iterable[Any], samples: "PositionedSamples", batches: "PositionedBatches", seed: int, start: int
) -> Iterator[Any]:
    """Start a loader of these batches of samples at batch `start`; the samples' random numbers follow from `seed`."""
    samples.seed, batches.start = seed, start
    with torch.random.fork_rng(devices=[]):  # the loader draws a seed, which would shift the model's numbers
        return iter(loader)


class PositionedBatches(Sampler):
    """The stream of batches, each a list of `{"position", "index"}`: cheap, so that skipping to `start` is.

    Args:
        sampler: infinite, the share of this process.
        batch_size: of this process.
        sizes: width and height of each image (n, 2), to have batches of lying or of standing ones; None: as they come.
    """

    def __init__(self, sampler: Sampler, batch_size: int, sizes: np.ndarray | None = None):
        self.sampler: Any = sampler  # Detectron2's has a seed
        self.sizes, self.batch_size, self.start = sizes, batch_size, 0

    def __iter__(self) -> Iterator[list[dict[str, int]]]:
        rank, world = comm.get_rank(), comm.get_world_size()
        samples = ({"position": i * world + rank, "index": index} for i, index in enumerate(self.sampler))
        if self.sizes is None:
            batches = map(list, zip(*[samples] * self.batch_size, strict=False))
        else:
            sized = ({**s, "width": self.sizes[s["index"], 0], "height": self.sizes[s["index"], 1]} for s in samples)
            batches = iter(AspectRatioGroupedDataset(sized, self.batch_size))
        return islice(batches, self.start, None)


class PositionedSamples(Dataset):
    """Maps the samples of a batch, each with random numbers of its own, and so the batch.

    Args:
        records: what the mapper takes.
        mapper: record -> sample; where it returns None, a random other record is taken.
        collate_fn: list of samples -> batch; None: the list.
    """

    def __init__(self, records: Sequence, mapper: Callable[[Any], Any], collate_fn: Callable | None = None):
        self.records, self.mapper, self.collate_fn, self.seed = records, mapper, collate_fn, 0
        self._in_worker = False

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, samples: Sequence[dict[str, int]]) -> Any:
        if not self._in_worker and get_worker_info():
            obey_parent_alone()
            self._in_worker = True
        batch = [self._map(sample["position"], sample["index"]) for sample in samples]
        if self.collate_fn is None:
            return batch
        with seeded(self.seed, samples[0]["position"], OF_BATCH):
            return self.collate_fn(batch)

    def _map(self, position: int, index: int) -> Any:
        with seeded(self.seed, position):
            for _ in range(TRIES):
                mapped = self.mapper(self.records[index])
                if mapped is not None:
                    return mapped
                index = random.randrange(len(self))
        raise UserError(f"the mapper returned None for {TRIES} records in a row")


def obey_parent_alone() -> None:
    """Let SIGTERM end this worker only if its parent sends it.

    A scheduler sends it to all processes of a job at once, and the main one still needs its workers for a last step.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def wait() -> None:
        while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
            pass
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()


@contextmanager
def seeded(*key: int) -> Iterator[None]:
    """Seed Python's, numpy's and torch's CPU generators with `key` inside the block, and restore them after it."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    seed = derive_seed(*key)
    random.seed(seed)
    np.random.seed(seed)
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])


def derive_seed(*key: int) -> int:
    """Return a seed below 2^32 for a tuple of non-negative integers; neighbours give unrelated ones."""
    return int(np.random.SeedSequence(key).generate_state(1)[0])


def _size(record: dict[str, Any]) -> tuple[int, int]:
    if "width" in record and "height" in record:
        return record["width"], record["height"]
    with PathManager.open(record["file_name"], "rb") as file, Image.open(file) as image:
        size = image.size
        # EXIF orientations 5 to 8 swap width and height.
        return size[::-1] if image.getexif().get(0x0112, 1) >= 5 else size
