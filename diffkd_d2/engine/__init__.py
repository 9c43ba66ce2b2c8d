"""What `train_net.py` adds to Detectron2's engine: the training step, the hooks, the start-up checks."""

from .. import _detectron2  # noqa: F401
