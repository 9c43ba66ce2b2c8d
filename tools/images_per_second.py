#!/usr/bin/env python
"""Measure how many images per second a config's training loader reads and augments.

python tools/images_per_second.py configs/imagenet/diffkd_resnet18_from_resnet34.py dataloader.train.num_workers=16
"""

import time
from argparse import ArgumentParser
from pathlib import Path

from diffkd_d2.engine.config import load_config
from diffkd_d2.engine.loaders import build_loader
from diffkd_d2.errors import one_line_errors


def measure(loader, batches: int) -> tuple[float, int]:
    """Return images per second over `batches` batches, and how many images that were.

    The first batch is not counted: the workers start with it.
    """
    stream = iter(loader)
    next(stream)
    start, images = time.perf_counter(), 0
    for _ in range(batches):
        batch = next(stream)
        images += len(batch["image"] if isinstance(batch, dict) else batch)
    return images / (time.perf_counter() - start), images


def main() -> None:
    """Parse the command line and print one line."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("--batches", type=int, default=50, help="batches to read, after the first")
    parser.add_argument("overrides", nargs="*", help="key=value, as for train_net.py")
    args = parser.parse_intermixed_args()
    with one_line_errors():
        node = load_config(str(args.config), args.overrides).dataloader.train
        rate, images = measure(build_loader(node), args.batches)
    print(f"{rate:.0f} images per second, measured over {images} images, {node.num_workers} worker(s)")


if __name__ == "__main__":
    main()
