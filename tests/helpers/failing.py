"""A mapper that fails, or gives useless images, in one process, to see what becomes of the others."""

import math
import os
from typing import Any

import torch
from detectron2.data import DatasetMapper


class FailingMapper(DatasetMapper):
    """Fails in process 1 after some images, unless the processes were restarted: by exception, at once, or by NaN."""

    calls = 0

    def __call__(self, record: dict[str, Any]) -> dict[str, Any]:
        """As DatasetMapper, until it fails."""
        self.calls += 1
        first = os.environ.get("TORCHELASTIC_RESTART_COUNT") == "0"
        if first and os.environ["RANK"] == "1" and self.calls > 6:
            if os.environ["HOW"] == "dies":
                os._exit(9)
            if os.environ["HOW"] == "nan":
                mapped = super().__call__(record)
                return dict(mapped, image=torch.full(mapped["image"].shape, math.nan))
            raise RuntimeError("the graphics card fell off")
        return super().__call__(record)
