"""Every meta-architecture of Detectron2, as teacher and as student, at every point that it has."""

import pytest
import torch
from detectors import (
    CASCADE,
    CLASSES,
    FASTER,
    FPN,
    KEYPOINT,
    MASK,
    PANOPTIC,
    RETINANET,
    SEMANTIC,
    batch,
    box_head,
    build,
    level,
    mask,
    roi,
    rpn,
    same,
    sem_seg,
    train_two_steps,
)
from detectron2.structures import Boxes
from detectron2.utils.events import EventStorage

from diffkd_d2.distillers import Mimic
from diffkd_d2.errors import UserError
from diffkd_d2.meta_arch.capture import find_module
from diffkd_d2.meta_arch.class_matching import match_classes
from diffkd_d2.meta_arch.distill_point import DistillPoint
from diffkd_d2.meta_arch.distilled_model import DistilledModel
from diffkd_d2.meta_arch.roi_branch import RoiBranch


def faster_points() -> list[DistillPoint]:
    stages = [level(f"p{i}") for i in (2, 3, 6)] + [same("backbone.bottom_up", 64, "res4")]
    return [*stages, rpn(), *box_head()]


def cascade_points() -> list[DistillPoint]:
    stages = range(3)
    deltas = [
        DistillPoint(f"roi_heads.box_predictor.{i}", "backbone", Mimic(4, 4), 1, roi=RoiBranch(stage=i), name=f"box{i}")
        for i in stages
    ]
    logits = [roi("box", f"box_predictor.{i}", CLASSES + 1, i, key=0) for i in stages]
    return [level("p2"), rpn(), *logits, *deltas, mask()]


MODELS = {
    "faster_rcnn": (FASTER, faster_points),
    "mask_rcnn": (MASK, lambda: [level("p2"), rpn(), *box_head(), mask()]),
    "keypoint_rcnn": (KEYPOINT, lambda: [level("p2"), rpn(), roi("keypoint", "keypoint_head.score_lowres", 17)]),
    "cascade_rcnn": (CASCADE, cascade_points),
    "retinanet": (
        RETINANET,
        lambda: [level("p3"), level("p7"), same("head", 9 * CLASSES, (0, 1), "cls"), same("head", 36, (1, 1), "box")],
    ),
    "panoptic_fpn": (PANOPTIC, lambda: [level("p2"), rpn(), *box_head(), mask(), sem_seg()]),
    "semantic_fpn": (SEMANTIC, lambda: [level("p2"), level("p5"), sem_seg()]),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_the_same_model_twice(name):
    config, points = MODELS[name]
    student = build(config)
    train_two_steps(student, build(config), points())
    assert build(config).load_state_dict(student.state_dict())


PAIRS = {
    "cascade_to_faster": (
        *(FASTER, CASCADE),
        lambda: [level("p2"), roi("box", "box_predictor", CLASSES + 1, 0, key=0, teacher_stage=2)],
    ),
    "mask_rcnn_to_retinanet": (RETINANET, MASK, lambda: [level("p3"), level("p4"), level("p5"), level("p6")]),
    "retinanet_to_faster": (FASTER, RETINANET, lambda: [level("p3"), level("p5")]),
    "panoptic_to_semantic": (
        *(SEMANTIC, PANOPTIC),
        lambda: [level("p2"), sem_seg()],
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_pairs_of_different_detectors(name):
    student, teacher, points = PAIRS[name]
    train_two_steps(build(student), build(teacher), points())


def test_different_widths_and_classes():
    names, more = ["a", "b", "c", "d", "e"], ["x", "e", "c", "y", "b", "z", "a"]
    classes = match_classes(names, more, background=True)
    assert classes == (([0, 1, 2, 4, 5], 6), ([6, 4, 2, 1, 7], 8))
    head = roi("box", "box_predictor", 5, key=0, classes=classes)
    train_two_steps(build(FASTER), build(FASTER, channels=48, classes=7), [level("p2", FPN, 48), head])
    anchors = match_classes(["a", "b"], ["b", "c"], anchors=2)
    assert anchors == (([1, 3], 4), ([0, 2], 4))
    assert match_classes(["a", "b"], ["b"], values_per_class=4) == (([4, 5, 6, 7], 8), ([0, 1, 2, 3], 4))
    with pytest.raises(UserError, match="no class of the student"):
        match_classes(["a"], ["b"])


def test_class_list_of_wrong_length_is_an_error():
    head = roi("box", "box_predictor", 5, key=0, classes=match_classes(list("abcd"), list("abcde"), background=True))
    model = DistilledModel(build(FASTER), build(FASTER), [head]).train()
    with EventStorage(), pytest.raises(UserError, match="the list of classes makes 5 channels, there are 6"):
        model(batch())


def test_two_teachers():
    points = [level("p3"), level("p4")]
    points[1].teacher_index = 1
    losses = train_two_steps(build(FASTER), [build(RETINANET), build(MASK)], points)
    assert {"loss_kd_p3", "loss_kd_p4"} <= set(losses)
    points[1].teacher_index = 2
    with pytest.raises(UserError, match="no teacher 2, of 2"):
        DistilledModel(build(FASTER), [build(RETINANET), build(MASK)], points)


def test_a_stage_that_the_student_lacks_is_one_line():
    branch = RoiBranch("box", stage=2, teacher_stage=0)
    point = DistillPoint("roi_heads.box_predictor", "backbone", Mimic(6, 6), key=0, roi=branch, name="late")
    model = DistilledModel(build(FASTER), build(FASTER), [point]).train()
    with EventStorage(), pytest.raises(UserError, match="point 'late': stage 2 of 1"):
        model(batch())


def test_batch_without_sampled_boxes():
    point = mask()
    student = torch.zeros(0, CLASSES, 28, 28, requires_grad=True)
    losses = point.train()(student, torch.zeros(0, CLASSES, 28, 28), [(64, 64)])
    sum(v for k, v in losses.items() if k.startswith("loss_")).backward()
    assert all(float(v) == 0 for k, v in losses.items() if k.startswith("loss_"))
    assert all(p.grad is not None for p in point.parameters())


def test_teacher_head_uses_student_boxes():
    teacher = build(MASK).eval()
    features = {f"p{i}": torch.randn(1, FPN, 64 // 2**i, 64 // 2**i) for i in range(2, 7)}
    boxes = [Boxes(torch.tensor([[4.0, 4.0, 40.0, 40.0], [8.0, 8.0, 20.0, 30.0]]))]
    heads = teacher.roi_heads
    pooled = heads.box_pooler([features[f] for f in heads.box_in_features], boxes)
    expected = heads.box_predictor(heads.box_head(pooled))
    for ours, theirs in zip(RoiBranch()(teacher, features, boxes), expected, strict=True):
        torch.testing.assert_close(ours, theirs)
    assert RoiBranch("mask")(teacher, features, boxes).shape == (2, CLASSES, 28, 28)
    with pytest.raises(UserError, match="has no roi_heads.keypoint_pooler"):
        RoiBranch("keypoint")(teacher, features, boxes)
    with pytest.raises(UserError, match="no ROI branch 'boxes'"):
        RoiBranch("boxes")
    assert find_module(teacher, RoiBranch("mask").pooler) is heads.mask_pooler
