"""Every shipped config loads, and builds the method that its name says."""

import re
from pathlib import Path

import detectron2
import pytest
import torch
from detectron2.config import instantiate
from detectron2.model_zoo import get_checkpoint_url, get_config
from detectron2.modeling import build_model
from leaves import LEAVES, ROOT, TEST_LEAVES, is_classifier, load, without_random_weights
from omegaconf import OmegaConf
from two_steps import build_offline

from diffkd_d2.distillers import DIST, KD, ChannelWise, DiffKD, FocalGlobal, MaskedGenerative, Mimic, Pearson
from diffkd_d2.engine.config import load_config
from diffkd_d2.errors import UserError
from diffkd_d2.evaluation.third_party import provide_panopticapi
from diffkd_d2.modeling.yaml_model import yaml_model

METHODS = {"alone": None, "teacher": None, "diffkd": DiffKD, "mimic": Mimic, "kd": KD, "dist": DIST}
METHODS |= {"pkd": Pearson, "cwd": ChannelWise, "mgd": MaskedGenerative, "fgd": FocalGlobal}


def name_of(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


QUICK = [p for p in LEAVES if p.parent.name == "shapes" or p.stem == "diffkd_r50"]
SLOW = [pytest.param(p, marks=pytest.mark.slow) for p in [*LEAVES, *TEST_LEAVES] if p not in QUICK]


@pytest.mark.parametrize("path", [*QUICK, *SLOW], ids=name_of)
def test_the_config_builds_what_its_name_says(path):
    cfg = load(path)
    method = METHODS[path.stem.split("_")[0]]
    assert ("teacher" in cfg.model) == (method is not None)
    assert cfg.train.output_dir == f"output/{path.parent.name}/{path.stem}"
    if is_classifier(cfg):  # test_classification_configs.py looks at what its points capture
        assert {type(instantiate(p).distiller) for p in cfg.model.points} == ({method} if method else set())
        return
    with without_random_weights():
        models = {"student": build_offline(cfg.model.student)}
        if method:
            models["teacher"] = build_offline(cfg.model.teacher.model)
    points = instantiate(cfg.model.points)
    points = points(models["student"], [models["teacher"]]) if callable(points) else points
    assert {type(p.distiller) for p in points} == ({method} if method else set())
    for who, model in models.items():
        channels = {name: shape.channels for name, shape in model.backbone.output_shape().items()}
        for point in points:
            if getattr(point, who) != "backbone":
                assert getattr(point, who) in dict(model.named_modules())
                continue
            assert getattr(point.distiller, f"{who}_channels") == channels[point.key[0]]


ZOO = [p for p in LEAVES if p.parent.name == "coco" or p.stem == "diffkd_mask_rcnn_r18_from_r50"]


@pytest.mark.slow
@pytest.mark.parametrize("path", ZOO, ids=name_of)
def test_zoo_teachers_match_the_zoo(path):
    teacher = load(path).model.get("teacher")
    if teacher is None or "dl.fbaipublicfiles.com" not in teacher.weights:
        assert "fcos" in path.stem
        return
    if "ViTDet" in teacher.weights:
        pytest.skip("ViTDet's config is in Detectron2's projects, the same file that ours is made of")
    name = teacher.weights.split("detectron2/", 1)[1].rsplit("/", 2)[0]
    suffix = ".yaml" if "yaml_model" in str(teacher.model._target_) else ".py"
    assert get_checkpoint_url(name + suffix) == teacher.weights
    zoo = get_config(name + suffix)
    if suffix == ".yaml":
        zoo.MODEL.DEVICE = "cpu"
    with without_random_weights():
        models = build_model(zoo) if suffix == ".yaml" else instantiate(zoo.model), instantiate(teacher.model)
    shapes = [{k: v.shape for k, v in m.state_dict().items()} for m in models]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("kind", ["v3", "v3_plus", "panoptic"])
def test_deeplab_teachers_match_the_project(kind):
    """Detectron2's projects are no part of its package: this runs where it is installed from its repository."""
    provide_panopticapi()
    folder = Path(detectron2.__file__).resolve().parent.parent / "projects"
    names = {"v3": "DeepLab/**/deeplab_v3_R_103*", "v3_plus": "DeepLab/**/deeplab_v3_plus_R_103*"}
    found = sorted(folder.glob(names.get(kind, "Panoptic-DeepLab/**/panoptic_deeplab_R_52*crop_512_1024.yaml")))
    if not found:
        pytest.skip("this Detectron2 has no folder of projects")
    stem = "diffkd_panoptic_deeplab_r18_from_r52" if kind == "panoptic" else f"diffkd_deeplab_{kind}_r18_from_r103"
    ours = load(ROOT / "cityscapes" / f"{stem}.py").model.teacher
    assert re.search(r"_R_\d+_os16_mg124_poly_90k_bs\d+", ours.weights)[0] in found[0].stem
    extend = list(ours.model.extend)
    with without_random_weights():
        theirs, ours = yaml_model(str(found[0]), [], extend), instantiate(ours.model)
    shapes = [{k: v.shape for k, v in m.state_dict().items()} for m in (theirs, ours)]
    assert shapes[0] == shapes[1]
    # Dilations, poolings and losses have no parameters.
    assert repr(theirs) == repr(ours) and theirs.input_format == ours.input_format
    for name in ("pixel_mean", "pixel_std"):
        assert torch.equal(getattr(theirs, name), getattr(ours, name))


def test_students_of_one_seed_start_from_the_same_weights():
    states = []
    for method in ("alone", "mimic", "diffkd"):
        torch.manual_seed(7)
        states.append(
            instantiate(load_config(str(ROOT / "shapes" / f"{method}_retinanet_r18.py"), []).model).student.state_dict()
        )
    assert all(torch.equal(v, other[k]) for other in states[1:] for k, v in states[0].items())


def test_unknown_key_suggests_nearest_names():
    path = str(ROOT / "shapes" / "diffkd_retinanet_r18.py")
    with pytest.raises(UserError, match="train.max_itr.*train.max_iter"):
        load_config(path, ["train.max_itr=5"])
    with pytest.raises(UserError, match="key=value"):
        load_config(path, ["train.max_iter"])
    cfg = load_config(path, ["model.points.1.weight=7", "train.max_iter=5"])
    assert (OmegaConf.select(cfg, "model.points")[1].weight, cfg.train.max_iter) == (7, 5)


def test_override_can_set_an_unlisted_keyword():
    path = str(ROOT / "shapes" / "diffkd_retinanet_r18.py")
    cfg = load_config(path, ["model.points.1.distiller.recompute=True"])
    assert instantiate(cfg.model.points[1]).distiller.recompute is True
    with pytest.raises(UserError, match="recomputed.*recompute"):
        load_config(path, ["model.points.1.distiller.recomputed=True"])
