"""Every meta-architecture of Detectron2, as teacher and as student, at every point that it has."""

import copy

import pytest
import torch
from detectron2.structures import BitMasks, Boxes, Instances, Keypoints
from detectron2.utils.events import EventStorage

from diffkd_d2.capture import find_module
from diffkd_d2.classes import match_classes
from diffkd_d2.distilled_model import DistilledModel, DistillPoint
from diffkd_d2.distillers import DiffKD, Mimic
from diffkd_d2.errors import UserError
from diffkd_d2.roi import RoiBranch
from diffkd_d2.teacher import yaml_model

FPN = 32
CLASSES = 5
SMALL = [
    *("MODEL.RESNETS.NORM", "BN", "MODEL.BACKBONE.FREEZE_AT", 0, "MODEL.RESNETS.STEM_OUT_CHANNELS", 16),
    *("MODEL.RESNETS.WIDTH_PER_GROUP", 8, "MODEL.RESNETS.RES2_OUT_CHANNELS", 16, "MODEL.ROI_BOX_HEAD.FC_DIM", 32),
    *("MODEL.RPN.POST_NMS_TOPK_TRAIN", 20, "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE", 16),
    *("MODEL.ROI_MASK_HEAD.CONV_DIM", 16, "MODEL.ROI_KEYPOINT_HEAD.CONV_DIMS", [16]),
    *("MODEL.SEM_SEG_HEAD.CONVS_DIM", 32, "MODEL.SEM_SEG_HEAD.NUM_CLASSES", CLASSES),
]
FASTER = "COCO-Detection/faster_rcnn_R_50_FPN_1x.yaml"
MASK = "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x.yaml"
KEYPOINT = "COCO-Keypoints/keypoint_rcnn_R_50_FPN_1x.yaml"
CASCADE = "Misc/cascade_mask_rcnn_R_50_FPN_1x.yaml"
RETINANET = "COCO-Detection/retinanet_R_50_FPN_1x.yaml"
PANOPTIC = "COCO-PanopticSegmentation/panoptic_fpn_R_50_1x.yaml"
SEMANTIC = "Misc/semantic_R_50_FPN_1x.yaml"


def build(config: str, channels: int = FPN, classes: int = CLASSES) -> torch.nn.Module:
    classes_of = ["MODEL.ROI_HEADS.NUM_CLASSES", classes, "MODEL.RETINANET.NUM_CLASSES", classes]
    return yaml_model(config, [*SMALL, *classes_of, "MODEL.FPN.OUT_CHANNELS", channels])


def batch() -> list[dict]:
    """Two images of different size with two objects each, with everything that a head may ask for."""
    inputs = []
    for height, width in ((64, 96), (96, 64)):
        target = Instances((height, width))
        target.gt_boxes = Boxes(torch.tensor([[4.0, 6.0, 40.0, 44.0], [20.0, 16.0, 60.0, 60.0]]))
        target.gt_classes = torch.tensor([1, 2])
        masks = torch.zeros(2, height, width, dtype=torch.bool)
        masks[0, 6:44, 4:40], masks[1, 16:60, 20:60] = True, True
        target.gt_masks = BitMasks(masks)
        points = torch.full((2, 17, 3), 30.0)
        points[..., 2] = 2
        target.gt_keypoints = Keypoints(points)
        image = torch.randint(0, 255, (3, height, width), dtype=torch.uint8)
        sem_seg = torch.randint(0, CLASSES, (height, width))
        inputs.append(dict(image=image, instances=target, sem_seg=sem_seg, height=height, width=width))
    return inputs


def level(name: str, s: int = FPN, t: int = FPN) -> DistillPoint:
    return DistillPoint("backbone", "backbone", DiffKD(s, t, latent_channels=8), key=name)


def roi(branch: str, module: str, channels: int, stage: int = 0, **more) -> DistillPoint:
    distiller = DiffKD(channels, channels, logits=branch == "box")
    branch = RoiBranch(branch, stage, more.pop("teacher_stage", None))
    return DistillPoint(f"roi_heads.{module}", "backbone", distiller, roi=branch, name=f"{module}_{stage}", **more)


def same(module: str, channels: int, key=None, name: str | None = None) -> DistillPoint:
    return DistillPoint(module, module, Mimic(channels, channels), key=key, name=name)


def sem_seg() -> DistillPoint:
    return same("sem_seg_head.predictor", CLASSES, name="sem_seg")


def rpn() -> DistillPoint:
    return same("proposal_generator.rpn_head", 3, (0, 1), "rpn")


def box_head() -> list[DistillPoint]:
    deltas = Mimic(4 * CLASSES, 4 * CLASSES)
    return [
        roi("box", "box_predictor", CLASSES + 1, key=0),
        DistillPoint("roi_heads.box_predictor", "backbone", deltas, key=1, roi=RoiBranch(), name="deltas"),
    ]


def faster_points() -> list[DistillPoint]:
    stages = [level(f"p{i}") for i in (2, 3, 6)] + [same("backbone.bottom_up", 64, "res4")]
    return [*stages, rpn(), *box_head()]


def mask() -> DistillPoint:
    return roi("mask", "mask_head.predictor", CLASSES)


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


def train_two_steps(student, teacher, points, make_batch=batch) -> dict[str, torch.Tensor]:
    """Train; assert what must hold of every pair; return the last losses."""
    model = DistilledModel(student, teacher, points).train()
    before = copy.deepcopy([t.state_dict() for t in model.teachers])
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    with EventStorage():
        for _ in range(2):
            losses = model(make_batch())
            assert all(torch.isfinite(v) for v in losses.values()), losses
            optimizer.zero_grad()
            sum(losses.values()).backward()
            assert [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None] == []
            optimizer.step()
    for t, state in zip(model.teachers, before, strict=True):
        assert all(torch.equal(v, state[k]) for k, v in t.state_dict().items())
        assert not any(m._forward_hooks or m._forward_pre_hooks for m in t.modules())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in student.modules())
    assert {f"loss_kd_{p.name}" for p in points} <= set(losses)
    return losses


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


def test_a_list_of_classes_of_the_wrong_length_is_one_line():
    head = roi("box", "box_predictor", 5, key=0, classes=match_classes(list("abcd"), list("abcde"), background=True))
    model = DistilledModel(build(FASTER), build(FASTER), [head]).train()
    with EventStorage(), pytest.raises(UserError, match="the list of classes makes 5 channels, there are 6"):
        model(batch())


def test_two_teachers_each_with_points():
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


def test_a_batch_without_a_sampled_box_gives_zero_and_every_gradient():
    point = mask()
    student = torch.zeros(0, CLASSES, 28, 28, requires_grad=True)
    losses = point.train()(student, torch.zeros(0, CLASSES, 28, 28), [(64, 64)])
    sum(v for k, v in losses.items() if k.startswith("loss_")).backward()
    assert all(float(v) == 0 for k, v in losses.items() if k.startswith("loss_"))
    assert all(p.grad is not None for p in point.parameters())


def test_the_teachers_head_sees_the_students_boxes_and_its_own_features():
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
