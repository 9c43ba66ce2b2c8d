"""The project's keys."""

from detectron2.config import CfgNode


def add_standin_config(cfg: CfgNode) -> None:
    """Add MODEL.STANDIN and what the project's solver reads."""
    cfg.MODEL.STANDIN = CfgNode(dict(WIDTH=8, NUM_CLASSES=4))
    cfg.SOLVER.BACKBONE_MULTIPLIER = 0.1
    cfg.SOLVER.POWER = 0.9
