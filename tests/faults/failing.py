"""A mapper that fails in one process, to see what becomes of the others."""

import os
from typing import Any

from detectron2.data import DatasetMapper


class FailingMapper(DatasetMapper):
    """Fails in process 1 after some images, unless the processes were restarted: by an exception, or at once."""

    calls = 0

    def __call__(self, record: dict[str, Any]) -> dict[str, Any]:
        """As DatasetMapper, until it fails."""
        self.calls += 1
        first = os.environ.get("TORCHELASTIC_RESTART_COUNT") == "0"
        if first and os.environ["RANK"] == "1" and self.calls > 6:
            if os.environ["HOW"] == "dies":
                os._exit(9)
            raise RuntimeError("the graphics card fell off")
        return super().__call__(record)
