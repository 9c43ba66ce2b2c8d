"""Make Detectron2's training loader resumable: batch i depends only on the seed and on i.

With Detectron2 alone, a resumed run restarts the sampler, loses half-filled aspect-ratio groups, and draws
augmentations from the seeds of worker processes. Here the order of samples, their groups and their random numbers are
functions of a seed and a position. A resumed run gets the batches of an uninterrupted one, with any number of workers.
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
OF_BATCH = 2**31  # makes the seeds of batches differ from those of samples and of steps (iteration, process)


class PositionedLoader:
    """Yield the batches of `build_detection_train_loader` from batch `start` of the stream given by `seed`.

    Set both attributes before iteration, which starts the workers.

    Args:
        records: dataset dicts, kept as `records`.
        mapper: function from a dataset dict to the model's input. If it returns None, a random other record is used.
        total_batch_size: images of all processes together.
        sampler: one of Detectron2's infinite samplers. If None, `TrainingSampler`.
        seed_sampler: whether `seed` seeds the sampler.
        aspect_ratio_grouping: as in Detectron2, by the width and height of the records, or of the image files if the
            records have none.
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
        # An item of this loader is a whole batch, so its content does not depend on the worker that makes it.
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
    """Start a loader at batch `start`; the random numbers of the samples follow from `seed`."""
    samples.seed, batches.start = seed, start
    with torch.random.fork_rng(devices=[]):  # the loader draws a seed, which would shift the model's random numbers
        return iter(loader)


class PositionedBatches(Sampler):
    """The stream of batches, each a list of `{"position", "index"}`; no image is read, so skipping to `start` is fast.

    Args:
        sampler: infinite sampler of this process.
        batch_size: batch size of this process.
        sizes: width and height of each image (n, 2), to group images by aspect ratio. If None, no grouping.
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
    """Map the samples of a batch, each with its own random numbers, and collate them.

    Args:
        records: inputs of the mapper.
        mapper: function from a record to a sample. If it returns None, a random other record is used.
        collate_fn: function from a list of samples to a batch. If None, the batch is the list.
    """

    def __init__(self, records: Sequence, mapper: Callable[[Any], Any], collate_fn: Callable | None = None):
        self.records, self.mapper, self.collate_fn, self.seed = records, mapper, collate_fn, 0
        self._in_worker = False

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, samples: Sequence[dict[str, int]]) -> Any:
        if not self._in_worker and get_worker_info():
            ignore_sigterm_unless_from_parent()
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


def ignore_sigterm_unless_from_parent() -> None:
    """End this worker on SIGTERM only if its parent sent it.

    A scheduler sends SIGTERM to all processes of a job, but the main process needs its workers for one more step.
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
    """Return a seed below 2^32 for a tuple of non-negative integers, in which zeros at the end count for nothing."""
    return int(np.random.SeedSequence(key).generate_state(1)[0])


def _size(record: dict[str, Any]) -> tuple[int, int]:
    if "width" in record and "height" in record:
        return record["width"], record["height"]
    with PathManager.open(record["file_name"], "rb") as file, Image.open(file) as image:
        size = image.size
        # EXIF orientations 5 to 8 swap width and height.
        return size[::-1] if image.getexif().get(0x0112, 1) >= 5 else size
