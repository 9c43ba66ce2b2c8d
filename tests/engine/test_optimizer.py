"""Student and distillers in one optimizer, each with its learning rate."""

from types import SimpleNamespace

import pytest
import torch
from detectron2.utils.events import EventStorage
from fvcore.common.param_scheduler import ConstantParamScheduler
from torch import nn

from diffkd_d2.distillers import Mimic
from diffkd_d2.engine.hooks import LRScheduler
from diffkd_d2.engine.optimizer import distill_optimizer_params
from diffkd_d2.meta_arch.distill_point import DistillPoint
from diffkd_d2.meta_arch.distilled_model import DistilledModel


def test_distillers_have_a_learning_rate_of_their_own():
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    model = DistilledModel(net, net, [DistillPoint("0", "0", Mimic(4, 4))])
    groups = distill_optimizer_params(model, base_lr=0.1, distiller_lr_factor=3.0, weight_decay_norm=0.0)
    rate = {id(p): g["lr"] for g in groups for p in g["params"]}
    assert all(rate[id(p)] == pytest.approx(0.3) for p in model.points.parameters())
    assert len(rate) == len(list(model.points.parameters()))  # the net is frozen here: it serves as the teacher


@pytest.mark.parametrize(("frozen", "logged"), [(False, 0.1), (True, 0.3)])
def test_the_learning_rate_of_the_student_is_logged(frozen, logged):
    student, teacher = (nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1)) for _ in range(2))
    points = [DistillPoint(f"{i}", f"{i}", Mimic(4, 4), name=f"p{j}{i}") for i in range(2) for j in range(3)]
    model = DistilledModel(student.requires_grad_(not frozen), teacher, points)
    groups = distill_optimizer_params(model, base_lr=0.1, distiller_lr_factor=3.0)
    assert frozen or len(groups[0]["params"]) < len(groups[1]["params"])  # Detectron2 would log the larger group's
    hook = LRScheduler(student, ConstantParamScheduler(1.0))
    with EventStorage() as storage:
        hook.trainer = SimpleNamespace(optimizer=torch.optim.SGD(groups, lr=0.1), max_iter=3, iter=0, storage=storage)
        hook.before_train()
        hook.after_step()
        assert storage.latest()["lr"][0] == pytest.approx(logged)
