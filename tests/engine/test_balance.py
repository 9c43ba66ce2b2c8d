"""`distill.balance`: the gradient of distillation is a chosen multiple of the task's."""

import pytest
import torch
from detectron2.engine import HookBase
from nets import Net, images

from diffkd_d2.distillers import Mimic
from diffkd_d2.engine.balance import FIRST, BalanceHook
from diffkd_d2.engine.gradient_report import Gradients, task_and_distillation
from diffkd_d2.engine.hooks import DistillHook
from diffkd_d2.engine.trainer import Trainer
from diffkd_d2.errors import UserError
from diffkd_d2.meta_arch.distill_point import DistillPoint
from diffkd_d2.meta_arch.distilled_model import DistilledModel


class Watch(HookBase):
    """Keep the ratio of gradient norms, and the factor, of each step as it is taken."""

    def __init__(self, model):
        self.model, self.ratios, self.scales = model, [], []

    def after_forward(self, losses, scale=1.0):
        task, distillation = task_and_distillation(losses, self.model.loss_to_point)
        gradients = Gradients(self.model.student, distillation, scale)
        self.ratios.append(gradients.distillation / gradients.norm(task))
        self.scales.append(self.model.distill_scale)


def make(balance, weight=1.0, window=(0, 0, None), lr=0.0, first=0):
    """Return a trainer, its hook and what watches it; with `lr`, a batch for each iteration from `first` on."""
    torch.manual_seed(0)
    points = [DistillPoint("backbone", "backbone", Mimic(4, 6), key=key, weight=weight) for key in ("p2", "p3")]
    model = DistilledModel(Net(4), Net(6), points)
    batches = [images((16, 24)) for _ in range(40)][first:] if lr else [images((16, 24))] * 40
    trainer = Trainer(model, batches, torch.optim.SGD(model.parameters(), lr=lr))
    watch = Watch(model)
    hook = BalanceHook(model, balance, window[0], period=10)
    trainer.register_hooks([DistillHook(model, *window), hook, watch])
    return trainer, hook, watch


@pytest.mark.parametrize("weight", [1e-4, 1.0, 1e4])
def test_ratio_is_independent_of_weights(weight):
    trainer, _, watch = make(0.5, weight)
    trainer.train(0, 20)
    assert watch.ratios[0] == pytest.approx(0.5, rel=1e-4)  # in the very first step
    assert watch.ratios == pytest.approx([0.5] * 20, rel=1e-3)
    assert trainer.storage.latest()["distill_balance"][0] == pytest.approx(watch.scales[-1])


def test_warm_up_and_window_act_beside_it():
    trainer, hook, watch = make(0.5, window=(3, 4, 12))
    trainer.train(0, 15)
    assert watch.scales[:3] == [0.0] * 3 and watch.scales[12:] == [0.0] * 3
    assert watch.ratios[3] == pytest.approx(0.5 / 5, rel=1e-4)
    assert watch.scales[11] == pytest.approx(hook.factor)


def test_it_is_measured_at_first_and_then_at_each_period():
    trainer, hook, _ = make(0.5)
    trainer.train(0, 35)
    assert hook.measured == FIRST + len([10, 20, 30])


def test_a_resumed_run_has_the_same_factors():
    whole, _, watched = make(0.5, lr=0.01)
    whole.train(0, 30)
    broken, _, _ = make(0.5, lr=0.01)
    broken.train(0, 13)
    resumed, hook, again = make(0.5, lr=0.01, first=13)
    resumed.model.load_state_dict(broken.model.state_dict())
    hook.load_state_dict(broken.state_dict()["hooks"]["BalanceHook"])
    resumed.train(13, 30)
    assert again.scales == watched.scales[13:]


@pytest.mark.parametrize("balance", [0.0, -1.0, float("nan")])
def test_a_balance_that_is_none_is_an_error(balance):
    with pytest.raises(UserError, match="distill.balance"):
        make(balance)
