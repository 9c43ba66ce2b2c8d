"""The project in `standin_project/`, which stands for a user's own, and what tests of it share."""

from argparse import Namespace
from pathlib import Path

from diffkd_d2.engine.config import argument_parser, parse_arguments

STANDIN = Path(__file__).resolve().parent / "standin_project"
PROJECT, STUDENT, TEACHER = (str(STANDIN / x) for x in ("train_net.py", "configs/student.yaml", "configs/teacher.yaml"))
SHAPES = ["DATASETS.TRAIN", ("shapes_train",), "DATASETS.TEST", ("shapes_val",), "MODEL.WEIGHTS", ""]


def arguments(*words: str) -> Namespace:
    """Return what train_net.py makes of a command line."""
    return parse_arguments(argument_parser(), list(words))
