"""Teachers trained by a config of this project."""

import sys
from pathlib import Path

from detectron2.config import LazyCall as L
from detectron2.config import LazyConfig

from diffkd_d2.modeling.teacher import load_teacher


def teacher_trained_by(config, weights=None, **options):
    """Return the config of a frozen teacher: the student of `config`, with the weights that training it leaves.

    Args:
        config: path of the teacher's config, relative to the file that calls, as in an import.
        weights: a checkpoint; if None, `model_final.pth` in the output folder of `config`.
        options: further arguments of `load_teacher`, such as `input_format="BGR"`.
    """
    caller = Path(sys._getframe(1).f_code.co_filename)
    model, train = LazyConfig.load(str(caller.parent / config), ("model", "train"))
    return L(load_teacher)(model=model.student, weights=weights or f"{train.output_dir}/model_final.pth", **options)
