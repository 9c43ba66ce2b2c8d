"""Recipes and the COCO configs take the published settings, and only those are called published."""

import logging

import pytest
from detectors import CASCADE, FASTER, MASK, RETINANET, SEMANTIC, build
from detectron2.config import instantiate

from diffkd_d2.engine.config import load_config
from diffkd_d2.meta_arch.auto_points import AutoPoints
from diffkd_d2.recipes import find_recipes, names

P2_P5, P3_P6 = ("p2", "p3", "p4", "p5"), ("p3", "p4", "p5", "p6")
FGD = ("foreground_weight", "background_weight", "attention_weight", "relation_weight")
TWO_STAGE_MGD = (5e-7, P2_P5, dict(ratio=0.45))
TWO_STAGE_FGD = (1.0, P2_P5, dict(zip(FGD, (5e-5, 2.5e-5, 5e-5, 5e-7), strict=True)))
ALL = None  # all levels that both models have

# Weight, levels and options; the sources are in docs/methods.md.
PUBLISHED = {
    "cankd": {family: (10.0, ALL, {}) for family in ("faster_rcnn", "retinanet", "fcos")},
    "cwd": {
        **{family: (10.0, ALL, dict(tau=1.0)) for family in ("faster_rcnn", "retinanet")},
        "segmentor": (3.0, ALL, dict(tau=4.0)),
    },
    "deepmimic": {},
    "diffkd": {"classifier": (1.0, ALL, {})},
    "dist": {"classifier": (2.0, ALL, {})},
    "dkd": {
        "faster_rcnn": (1.0, ALL, dict(alpha=1.0, beta=0.25, tau=1.0)),
        "classifier": (1.0, ALL, dict(alpha=1.0, beta=0.5, tau=1.0)),
    },
    "fgd": {
        "retinanet": (1.0, ALL, dict(zip(FGD, (1e-3, 5e-4, 5e-4, 5e-6), strict=True))),
        "fcos": (1.0, ALL, dict(zip(FGD, (1.6e-3, 8e-4, 8e-4, 8e-6), strict=True), temperature=0.8)),
        **dict.fromkeys(("faster_rcnn", "mask_rcnn", "cascade_rcnn"), TWO_STAGE_FGD),
    },
    "frs": {family: (w, ALL, {}) for family, w in dict(retinanet=0.005, fcos=0.01, faster_rcnn=0.002).items()},
    "kd": {},
    "lskd": {"classifier": (9.0, ALL, dict(tau=2.0, standardize=True))},
    "mgd": {
        "retinanet": (2e-5, ALL, dict(ratio=0.65)),
        "faster_rcnn": TWO_STAGE_MGD,
        "mask_rcnn": TWO_STAGE_MGD,
        "segmentor": (2e-5, ("res5",), dict(ratio=0.75)),
        "classifier": (7e-5, ALL, dict(ratio=0.15)),
    },
    "mimic": {},
    "pkd": {"faster_rcnn": (6.0, P2_P5, {}), "retinanet": (10.0, P3_P6, {})},
    "qfkd": {},
    "review": {family: (1.0, ALL, {}) for family in ("faster_rcnn", "retinanet")},
    "skd": {},
}


@pytest.mark.parametrize("name", names())
def test_settings(name):
    (recipe,) = find_recipes(name)
    found = {family: (s.weight, s.levels, dict(s.options)) for family, s in recipe.published.items()}
    assert found == PUBLISHED[name]


@pytest.mark.parametrize("family", [RETINANET, FASTER, MASK, CASCADE, SEMANTIC])
def test_the_log_says_where_nothing_is_published(family, caplog):
    caplog.set_level(logging.INFO)
    models = build(family), build(family)
    name = {RETINANET: "retinanet", FASTER: "faster_rcnn", MASK: "mask_rcnn", CASCADE: "cascade_rcnn"}.get(family)
    for method in ("pkd", "cwd", "mgd", "mimic", "cankd"):
        caplog.clear()
        AutoPoints(find_recipes(method))(models[0], [models[1]])
        said = f"method {method}: no published setting for {name or 'segmentor'}" in caplog.text
        assert said == ((name or "segmentor") not in PUBLISHED[method])


@pytest.mark.parametrize(("family", "name"), [(RETINANET, "retinanet"), (FASTER, "faster_rcnn")])
@pytest.mark.parametrize("method", ["pkd", "cwd", "mgd", "fgd"])
def test_the_coco_configs(method, family, name):
    cfg = load_config(f"configs/coco/{method}_{name}_r50_from_r101.py", [])
    points = instantiate(cfg.model.points)(build(family), [build(family)])
    weight, levels, options = PUBLISHED[method][name]
    options = dict(options)
    levels = levels or (("p3", "p4", "p5", "p6", "p7") if name == "retinanet" else ("p2", "p3", "p4", "p5", "p6"))
    assert [(point.weight, *point.key) for point in points] == [(weight, level) for level in levels]
    weights = tuple(options.pop(term) for term in FGD) if method == "fgd" else None
    for point in points:
        assert getattr(point.distiller, "weights", None) == weights
        assert {option: getattr(point.distiller, option) for option in options} == options
