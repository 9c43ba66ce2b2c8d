"""Models and teachers of Detectron2's zoo by their names, such as "COCO-Detection/faster_rcnn_R_101_FPN_3x"."""

from detectron2.config import LazyCall as L
from detectron2.model_zoo import get_checkpoint_url, get_config

from diffkd_d2.modeling.teacher import load_teacher
from diffkd_d2.modeling.yaml_model import yaml_model


def zoo_model(name, opts=()):
    """Return the config of the model, untrained; `opts` override its YAML config."""
    return L(yaml_model)(config=f"{name}.yaml", opts=list(opts))


def zoo_teacher(name, lazy=False):
    """Return the config of the model with the zoo's weights; set `lazy` if the zoo's config is a LazyConfig."""
    model = get_config(f"{name}.py").model if lazy else zoo_model(name)
    return L(load_teacher)(model=model, weights=get_checkpoint_url(f"{name}{'.py' if lazy else '.yaml'}"))
