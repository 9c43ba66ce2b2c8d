"""`distill.weight`, the names of `train.inherit`, other pooler paths, and LazyConfigs of other projects."""

from types import SimpleNamespace

import pytest
import torch
from detectors import FASTER, RETINANET, batch, build
from detectron2.config import LazyCall as L
from detectron2.utils.events import EventStorage
from omegaconf import OmegaConf
from torch import nn

from diffkd_d2.distillers import KD
from diffkd_d2.engine.config import complete, load_config
from diffkd_d2.engine.hooks import DistillHook
from diffkd_d2.engine.schema import check_config
from diffkd_d2.errors import UserError
from diffkd_d2.meta_arch.distill_point import DistillPoint
from diffkd_d2.meta_arch.distilled_model import DistilledModel
from diffkd_d2.meta_arch.roi_branch import RoiBranch
from diffkd_d2.modeling.teacher import inherit


def test_the_weight_multiplies_the_window():
    hook = DistillHook(SimpleNamespace(), start_iter=2, warmup_iters=1, weight=3.0)
    assert [hook.scale(i) for i in range(5)] == [0.0, 0.0, 1.5, 3.0, 3.0]
    with pytest.raises(UserError, match="distill.weight is -1"):
        DistillHook(SimpleNamespace(), weight=-1)


def test_neck_and_head_are_names_of_what_is_inherited():
    student, teacher = build(RETINANET), build(RETINANET)
    neck, head = inherit(student, teacher, ["neck"]), inherit(student, teacher, ["head"])
    assert neck and all(name.startswith(("backbone.fpn", "backbone.top_block")) for name in neck)
    assert head and not any(name.startswith("backbone.") for name in head)
    assert all(torch.equal(student.state_dict()[n], teacher.state_dict()[n]) for n in [*neck, *head])
    with pytest.raises(UserError, match="not an FPN, so it has no neck"):
        inherit(nn.Linear(1, 1), nn.Linear(1, 1), ["neck"])


def test_boxes_may_go_through_a_pooler_at_another_path():
    student, teacher = build(FASTER), build(FASTER)
    student.other = nn.ModuleDict(dict(box_pooler=student.roi_heads.box_pooler))
    teacher.other = teacher.roi_heads
    losses = []
    for more in ({}, dict(pooler="other.box_pooler", heads="other")):
        point = DistillPoint("roi_heads.box_predictor", "backbone", KD(), key=0, roi=RoiBranch(**more), name="roi")
        torch.manual_seed(0)
        with EventStorage():
            losses.append(DistilledModel(student, teacher, [point]).train()(batch())["loss_kd_roi"])
    assert losses[0] > 0 and torch.equal(*losses)


def test_train_options_of_another_project():
    train = dict(max_iter=7, amp=dict(enabled=True), wandb=dict(enabled=False))
    train["clip_grad"] = dict(enabled=True, params=dict(max_norm=0.1, norm_type=2))
    theirs = OmegaConf.create(dict(model=L(nn.Linear)(in_features=1, out_features=1), train=train))
    cfg = complete(theirs)
    assert (cfg.train.max_iter, cfg.train.amp.dtype, cfg.train.clip_norm) == (7, "float16", 0.1)
    assert cfg.model._target_ is DistilledModel and cfg.notes == ["train.wandb is not honoured"]


def test_loop_variable_in_a_config_is_ignored():
    cfg = load_config("configs/shapes/alone_retinanet_r18.py", [])
    cfg.part = dict(num_levels="${..nowhere}")
    check_config(cfg)
    cfg.model.student = dict(num_levels="${..nowhere}")
    with pytest.raises(UserError, match="nowhere"):
        check_config(cfg)
