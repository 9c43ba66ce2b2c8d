"""Every change made to the sources of v0.6, and why."""

import re
from typing import NamedTuple


class Rewrite(NamedTuple):
    """Replace `pattern` by `replacement` in the files whose path matches `files`, `count` times in total."""

    files: str
    pattern: str
    replacement: str
    count: int
    reason: str


_PYTHON = r".*\.py$"

REWRITES = (
    Rewrite(_PYTHON, r"\bnp\.bool\b", "np.bool_", 9, "NumPy 1.24 dropped the alias"),
    Rewrite(_PYTHON, r"\bnp\.int\b", "np.int64", 4, "NumPy 1.24 dropped the alias"),
    Rewrite(_PYTHON, r"\bnp\.float\b", "np.float64", 5, "NumPy 1.24 dropped the alias"),
    Rewrite(_PYTHON, r"\bnp\.object\b", "np.object_", 0, "NumPy 1.24 dropped the alias"),
    Rewrite(_PYTHON, r"\bnp\.str\b", "np.str_", 1, "NumPy 1.24 dropped the alias"),
    Rewrite(r".*transforms/transform\.py$", r"\bImage\.LINEAR\b", "Image.BILINEAR", 1, "Pillow 10 dropped the alias"),
    Rewrite(
        _PYTHON,
        r"\blr_scheduler\._LRScheduler\b",
        "lr_scheduler.LRScheduler",
        9,
        "torch 2.0 made _LRScheduler a subclass: the test for it fails, and resume loses the schedule",
    ),
    Rewrite(
        r".*model_zoo/model_zoo\.py$",
        r"^import pkg_resources$",
        "from pathlib import Path",
        1,
        "new setuptools have no pkg_resources",
    ),
    Rewrite(
        r".*model_zoo/model_zoo\.py$",
        r"pkg_resources\.resource_filename\(\s*\"detectron2\.model_zoo\", (.*?)\s*\)$",
        r"str(Path(__file__).parent / \1)",
        1,
        "new setuptools have no pkg_resources",
    ),
    Rewrite(
        r"detectron2/export/__init__\.py$",
        r"^from \.api import \*$",
        "try:\n    from .api import *\nexcept ImportError:  # caffe2\n    pass",
        1,
        "caffe2 is gone from torch; TorchScript export needs none of it",
    ),
    Rewrite(
        r".*meta_arch/retinanet\.py$",
        r"get_norm\(norm, 1\)",
        "get_norm(norm, 32)",
        1,
        "today's GroupNorm refuses 32 groups of one channel",
    ),
)


def apply(sources: dict[str, str], rewrites: tuple[Rewrite, ...] = REWRITES) -> dict[str, str]:
    """Return the sources (path -> text) with every rewrite applied.

    Raises:
        ValueError: if one does not match as often as it says; the archive is not the one it was written for.
    """
    sources = dict(sources)
    for rewrite in rewrites:
        found = 0
        for path in [p for p in sources if re.match(rewrite.files, p)]:
            sources[path], n = re.subn(
                rewrite.pattern, rewrite.replacement, sources[path], flags=re.MULTILINE | re.DOTALL
            )
            found += n
        if found != rewrite.count:
            raise ValueError(f"rewrite {rewrite.pattern!r} matched {found} times, expected {rewrite.count}")
    return sources
