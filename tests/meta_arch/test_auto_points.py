"""Automatic points: which modules of two models are paired, and the config that is logged for them."""

import logging
import re

import pytest
import torch
from detectors import CASCADE, FASTER, MASK, PANOPTIC, RETINANET, SEMANTIC, batch, build, train_two_steps
from detectron2.config import LazyCall as L
from detectron2.config import instantiate
from detectron2.utils.events import EventStorage
from nets import Net

from diffkd_d2 import distillers
from diffkd_d2.classification.classifier import Classifier
from diffkd_d2.errors import UserError
from diffkd_d2.meta_arch.auto_points import AutoPoints
from diffkd_d2.meta_arch.distill_point import DistillPoint
from diffkd_d2.meta_arch.distilled_model import DistilledModel
from diffkd_d2.meta_arch.recipe import Recipe, Setting, aligned
from diffkd_d2.meta_arch.roi_branch import RoiBranch
from diffkd_d2.recipes import find_recipes, names


def points(student, teacher, method, **options):
    return AutoPoints(find_recipes(method), **options)(student, [teacher])


def where(chosen):
    return [(p.student, *p.key) for p in chosen]


@pytest.mark.parametrize(
    ("student", "teacher", "levels"),
    [
        (RETINANET, RETINANET, ["p3", "p4", "p5", "p6", "p7"]),
        (FASTER, MASK, ["p2", "p3", "p4", "p5", "p6"]),
        (RETINANET, MASK, ["p3", "p4", "p5", "p6"]),
        (FASTER, RETINANET, ["p3", "p4", "p5", "p6"]),
        (SEMANTIC, PANOPTIC, ["p2", "p3", "p4", "p5"]),
    ],
)
def test_feature_levels_are_paired_by_stride(student, teacher, levels):
    models = build(student), build(teacher, channels=48)
    chosen = points(*models, "mimic")
    assert where(chosen) == [("backbone", level) for level in levels]
    assert {p.distiller.align.weight.shape[:2] for p in chosen} == {(48, 32)}
    train_two_steps(*models, chosen)


def test_stages_of_the_bottom_up_networks():
    chosen = points(build(FASTER), build(RETINANET), "mimic", where="stages")
    assert where(chosen) == [("backbone.bottom_up", f"res{i}") for i in (3, 4, 5)]


@pytest.mark.parametrize(
    ("student", "teacher", "expected"),
    [
        (FASTER, MASK, [("roi_heads.box_predictor", 0)]),
        (CASCADE, CASCADE, [(f"roi_heads.box_predictor.{i}", 0) for i in range(3)]),
        (SEMANTIC, PANOPTIC, [("sem_seg_head.predictor",)]),
        (PANOPTIC, PANOPTIC, [("roi_heads.box_predictor", 0), ("sem_seg_head.predictor",)]),
    ],
)
def test_class_logits_where_both_have_the_same_head(student, teacher, expected):
    models = build(student), build(teacher)
    chosen = points(*models, "kd")
    assert where(chosen) == expected
    train_two_steps(*models, chosen)


def test_cascade_teacher_uses_its_last_stage():
    (point,) = points(build(FASTER), build(CASCADE), "kd")
    assert (point.roi.stage, point.roi.teacher_stage) == (0, 2)


def test_dense_heads_where_class_and_anchor_counts_agree():
    recipe = Recipe("logits", aligned(distillers.Mimic), default=Setting(where=("head",), weight=2.0))
    chosen = AutoPoints(recipe, levels=["p4"])(build(RETINANET), [build(RETINANET)])
    assert where(chosen) == [("head", 0, 1)] and chosen[0].weight == 2.0
    train_two_steps(build(RETINANET), build(RETINANET), chosen)
    with pytest.raises(UserError, match="finds no place in RetinaNet and RetinaNet at head"):
        AutoPoints(recipe)(build(RETINANET), [build(RETINANET, classes=7)])


@pytest.mark.parametrize(
    ("student", "teacher", "method", "why"),
    [
        (
            RETINANET,
            RETINANET,
            "diffkd+kd",
            "it is not for the sigmoid logits of a dense head; take a method on features",
        ),
        (MASK, MASK, "qfkd", "the student has box logits, the teacher box logits; take a method on features"),
        (FASTER, RETINANET, "dkd", "the student has box logits, the teacher the sigmoid logits of a dense head; take"),
        (SEMANTIC, RETINANET, "cwd", "the student has label map logits, .* set distill.where to some of features"),
        (SEMANTIC, SEMANTIC, "fgd", "fgd is for detectors, since it needs boxes; take mimic"),
        (SEMANTIC, SEMANTIC, "frs", "the teacher has no class scores for each position of p2; take mimic"),
    ],
)
def test_a_refused_method_says_why_and_what_to_take_instead(student, teacher, method, why):
    with pytest.raises(UserError, match=why):
        points(build(student), build(teacher), method)


def test_a_model_without_a_backbone_is_told_where_else():
    class Wrapped(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.detr = torch.nn.Sequential(build(RETINANET).backbone)

    with pytest.raises(
        UserError, match=r"Wrapped has no attribute 'backbone'; distill.where can name detr\.0, detr\.0\."
    ):
        points(Wrapped(), build(RETINANET), "mimic")


def test_other_class_counts_are_named():
    with pytest.raises(UserError, match="box logits of the student have 6 channels, of the teacher 8"):
        points(build(FASTER), build(FASTER, classes=7), "kd")
    with pytest.raises(UserError, match="method qfkd finds .* not for features"):
        points(build(RETINANET), build(RETINANET), "qfkd", where="features")


def test_shapes_are_measured_if_not_declared():
    student, teacher = Net(4), Net(6)
    chosen = points(student.train(), teacher, "mimic")
    assert where(chosen) == [("backbone", "p2"), ("backbone", "p3")]
    assert {p.distiller.align.weight.shape[:2] for p in chosen} == {(6, 4)}
    assert all(module.training for module in student.modules())
    by_path = points(student, teacher, "mimic", where=["backbone.p3"])
    assert where(by_path) == [("backbone.p3",)] and by_path[0].name == "backbone_p3"
    with pytest.raises(UserError, match="'bckbone' is neither one of features, stages"):
        points(student, teacher, "mimic", where="bckbone")


def test_a_classifier_is_distilled_as_the_authors_do():
    student, teacher = (Classifier(f"cifar/resnet{n}", 10, feature="layer3") for n in (20, 56))
    chosen = points(student, teacher, "diffkd")
    assert [p.name for p in chosen] == ["feature_map", "logits"]
    assert chosen[0].distiller.autoencoder is not None and chosen[1].distiller.logits


def test_the_logged_config_equals_the_handwritten_one(caplog):
    student, teacher = build(CASCADE), build(CASCADE, channels=48)
    model = build(CASCADE)
    with caplog.at_level(logging.INFO):
        torch.manual_seed(0)
        chosen = points(student, teacher, "diffkd+kd", levels=["p2", "p3"], weight=5.0, tau=2.0)
    text = re.search(r"model\.points = (\[.*\])", caplog.text, re.DOTALL)[1]
    known = dict(L=L, DistillPoint=DistillPoint, RoiBranch=RoiBranch, **vars(distillers))
    torch.manual_seed(0)
    by_hand = [instantiate(node) for node in eval(text, known)]
    student.load_state_dict(model.state_dict())
    losses = []
    for pair in (chosen, by_hand):
        torch.manual_seed(1)
        with EventStorage():
            losses.append(DistilledModel(student, teacher, pair).train()(batch()))
    assert list(losses[0]) == list(losses[1]) and {"loss_kd_p2", "loss_kd_roi_2"} <= set(losses[0])
    assert all(torch.equal(value, losses[1][name]) for name, value in losses[0].items())


def test_wrong_options_are_one_line():
    pair = build(RETINANET), build(RETINANET)
    with pytest.raises(UserError, match=r"levels: \['p2'\] are not common to both models"):
        points(*pair, "mimic", levels=["p2", "p3"])
    with pytest.raises(UserError, match=r"no distiller of mimic takes \['latent_channel'\]"):
        points(*pair, "mimic", latent_channel=3)
    for name, wrong in (("num_function_evals", 2.5), ("latent_channels", 32.5), ("tau", "hot"), ("norm", "GN")):
        with pytest.raises(UserError, match=f"model.points.{name}={wrong}: DiffKD cannot be built: "):
            points(*pair, "diffkd", **{name: wrong})
    assert points(*pair, "diffkd", tau=2, levels="p4")[0].distiller.tau == 2
    with pytest.raises(UserError, match="no method 'mimick'; the nearest names: mimic"):
        find_recipes("diffkd+mimick")
    with pytest.raises(UserError, match=r"--method mimic\+kd\+mimic names a method twice"):
        find_recipes("mimic+kd+mimic")
    with pytest.raises(UserError, match=", ".join(names())):
        find_recipes("xyz")


def test_without_a_teacher_or_with_two():
    student = build(RETINANET)
    assert AutoPoints(find_recipes("mimic"))(student, []) == []
    chosen = AutoPoints(find_recipes("mimic+diffkd"), levels=["p3"])(student, [build(RETINANET), build(MASK)])
    assert [(p.name, p.teacher_index) for p in chosen] == [
        *(("p3_mimic", 0), ("p3_diffkd", 0), ("p3_t1_mimic", 1), ("p3_t1_diffkd", 1)),
    ]
    DistilledModel(student, [build(RETINANET), build(MASK)], AutoPoints(find_recipes("mimic"), levels=["p3"]))


# What each method chooses for Mask R-CNN with P2 to P6, and for RetinaNet with P3 to P7; None: refused.
PLACES = {
    "cankd": (5, 5),
    "cwd": (5, 5),
    "deepmimic": (5, 5),
    "diffkd": (5, 5),
    "dist": (1, None),
    "dkd": (1, None),
    "fgd": (4, 5),
    "frs": (5, 5),
    "kd": (1, None),
    "lskd": (1, None),
    "mgd": (4, 5),
    "mimic": (5, 5),
    "pkd": (5, 4),
    "qfkd": (None, 1),
    "review": (1, 1),
    "skd": (5, 5),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("config", [MASK, RETINANET])
def test_every_method_trains_a_detector_or_refuses_it(name, config):
    expected = PLACES[name][config == RETINANET]
    models = build(config), build(config)
    if expected is None:
        with pytest.raises(UserError, match=f"method {name} finds no place"):
            points(*models, name)
        return
    chosen = points(*models, name)
    assert len(chosen) == expected
    train_two_steps(*models, chosen)


def test_published_settings_are_taken_by_family(caplog):
    with caplog.at_level(logging.INFO):
        chosen = points(build(RETINANET), build(RETINANET), "pkd")
        assert {p.weight for p in chosen} == {10.0} and chosen[-1].name == "p6"
        assert "no published setting" not in caplog.text
        assert {p.weight for p in points(build(FASTER), build(MASK), "pkd")} == {6.0}
        points(build(SEMANTIC), build(SEMANTIC), "pkd")
    assert "method pkd: no published setting for segmentor; using weight 6" in caplog.text


def test_joint_methods_pair_levels_by_stride_too():
    student = build(RETINANET)
    student.head_in_features = student.head_in_features[1:]  # P4 to P7
    student.anchor_generator.strides = student.anchor_generator.strides[1:]
    (point,) = points(student, build(RETINANET), "qfkd")
    assert point.keys == [((0, i), (0, i + 1)) for i in range(4)]


def test_overlapping_words_give_each_place_once():
    chosen = points(build(RETINANET), build(RETINANET), "mimic", where=["head", "logits", "features"])
    assert len(chosen) == 10 and len({(p.student, p.key) for p in chosen}) == 10


def test_a_head_without_a_box_pooler_is_refused():
    c4 = "COCO-Detection/faster_rcnn_R_50_C4_1x.yaml"
    with pytest.raises(UserError, match="the student has no known class logits, .* take a method on features"):
        points(build(c4), build(c4), "kd")


class ListNet(Net):
    """Its backbone returns a list of maps."""

    def __init__(self, channels):
        super().__init__(channels)
        self.backbone.register_forward_hook(lambda module, args, output: list(output.values()))

    def forward(self, batch):
        return self.backbone(torch.stack([x["image"].float() for x in batch]))


def test_the_maps_of_a_list_are_levels():
    chosen = points(ListNet(4), ListNet(6), "mimic")
    assert [p.key for p in chosen] == [(0,), (1,)] and [p.name for p in chosen] == ["0", "1"]
    assert [p.key for p in points(ListNet(4), ListNet(6), "mimic", levels=[1])] == [(1,)]
    single = ListNet(6)
    single.backbone.register_forward_hook(lambda module, args, output: output[0])
    with pytest.raises(UserError, match="no feature levels of the same stride"):
        points(ListNet(4), single, "mimic")  # 0 would select an image of the teacher's batch


def test_a_module_of_a_detector_gets_a_latent_of_its_own_width():
    (chosen,) = points(build(RETINANET), build(RETINANET), "diffkd", where="backbone.bottom_up.res5")
    assert chosen.distiller.autoencoder.encoder[0].out_channels == 64  # not a classifier's 1024
