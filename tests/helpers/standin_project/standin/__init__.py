"""A small project on Detectron2, as others write them: what `--project` is tested on."""

from .config import add_standin_config
from .data import StandInMapper
from .model import StandIn

__all__ = ["StandIn", "StandInMapper", "add_standin_config"]
