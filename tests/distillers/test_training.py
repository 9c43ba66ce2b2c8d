"""Every method trains a model that fits it: padding, autocast, several processes, and the same draws after a resume."""

import copy

import pytest
import torch
import torch.multiprocessing as mp
from detectors import CLASSES, FASTER, FPN, RETINANET, SEMANTIC, build, train_two_steps
from nets import images
from one_of_two import small_model, train_in_one_process

from diffkd_d2.distillers import (
    DKD,
    KD,
    ChannelWise,
    CrossAttention,
    DeepMimic,
    FocalGlobal,
    MaskedGenerative,
    Pairwise,
    Pearson,
    QualityFocalKD,
    Review,
    ScoreMimic,
)
from diffkd_d2.meta_arch.distill_point import DistillPoint
from diffkd_d2.meta_arch.roi_branch import RoiBranch

LEVELS = ("p3", "p4", "p5", "p6", "p7")
TEACHER = 40


def neck(distiller, **more):
    options = dict(key="p3", name=type(distiller).__name__) | more
    return DistillPoint("backbone", "backbone", distiller, **options)


def dense_points():
    """Every method for one-stage detectors, from a neck of another width."""
    pair = (FPN, TEACHER)
    logits = tuple((0, level) for level in range(len(LEVELS)))
    return [
        *(neck(m(*pair)) for m in (ChannelWise, CrossAttention, DeepMimic, FocalGlobal, Pearson)),
        neck(MaskedGenerative(*pair), weight=2e-5),
        neck(Pairwise(), key="p5"),
        neck(ScoreMimic(*pair), scores=("head", (0, 0))),
        neck(Review(*pair, len(LEVELS), inner_channels=16), key=None, levels=LEVELS),
        DistillPoint("head", "head", QualityFocalKD(), levels=logits, name="QualityFocalKD"),
    ]


@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_a_one_stage_detector(dtype):
    student, teacher = build(RETINANET), build(RETINANET, channels=TEACHER)
    with torch.autocast("cpu", dtype, enabled=dtype is not None):
        losses = train_two_steps(student, teacher, dense_points())
    assert all(v.dtype == torch.float32 for k, v in losses.items() if k.startswith("loss_kd"))


@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_a_two_stage_detector(dtype):
    head, backbone = "roi_heads.box_predictor", "backbone"
    points = [
        DistillPoint(head, backbone, distiller, key=0, roi=RoiBranch(), name=f"logits{i}")
        for i, distiller in enumerate((DKD(), DKD(standardize=True), KD(standardize=True)))
    ]
    points += [neck(Pearson(FPN, FPN)), neck(FocalGlobal(FPN, FPN)), neck(MaskedGenerative(FPN, FPN), weight=5e-7)]
    with torch.autocast("cpu", dtype, enabled=dtype is not None):
        train_two_steps(build(FASTER), build(FASTER), points)


def test_a_segmentor():
    logits, module = (CLASSES, CLASSES), "sem_seg_head.predictor"
    distillers = [ChannelWise(*logits, tau=4.0), Pairwise(), DKD()]
    points = [DistillPoint(module, module, d, name=type(d).__name__) for d in distillers]
    train_two_steps(build(SEMANTIC), build(SEMANTIC), [*points, neck(MaskedGenerative(FPN, FPN), weight=2e-5)])


@pytest.mark.slow
def test_two_processes_stay_equal(tmp_path):
    mp.spawn(train_in_one_process, args=(str(tmp_path),), nprocs=2)
    one, other = (torch.load(tmp_path / f"{rank}.pth", weights_only=False) for rank in (0, 1))
    assert one.keys() == other.keys() and all(torch.equal(v, other[k]) for k, v in one.items())


def test_what_is_erased_is_a_function_of_the_seed():
    """Each step is seeded by its iteration, so that a resumed run draws what the whole run drew."""
    batches = [images((16, 24), (24, 16)) for _ in range(4)]

    def train(model, optimizer, steps):
        for step in steps:
            torch.manual_seed(step)
            optimizer.zero_grad()
            sum(model(batches[step]).values()).backward()
            optimizer.step()

    model = small_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)
    train(model, optimizer, range(2))
    kept = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
    train(model, optimizer, range(2, 4))
    resumed = small_model()
    resumed.teachers[0].load_state_dict(model.teachers[0].state_dict())
    resumed.load_state_dict(kept[0])
    again = torch.optim.SGD(resumed.parameters(), lr=1e-4, momentum=0.9)
    again.load_state_dict(kept[1])
    train(resumed, again, range(2, 4))
    assert all(torch.equal(v, model.state_dict()[k]) for k, v in resumed.state_dict().items())
    erased = {name: p.grad for name, p in model.named_parameters() if "generation" in name}
    assert erased and all(g.any() for g in erased.values())
