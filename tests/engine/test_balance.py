"""`distill.balance`: the gradient of distillation is a chosen multiple of the task's."""

import math

import pytest
import torch
from detectron2.engine import HookBase
from nets import Net, images
from one_of_two import run_two
from torch import nn
from torch.utils.checkpoint import checkpoint

from diffkd_d2.distillers import DiffKD, MaskedGenerative, Mimic, Review
from diffkd_d2.engine.balance import FIRST, BalanceHook
from diffkd_d2.engine.gradient_report import Gradients, task_and_distillation
from diffkd_d2.engine.hooks import DistillHook
from diffkd_d2.engine.trainer import Trainer
from diffkd_d2.errors import UserError
from diffkd_d2.meta_arch.distill_point import DistillPoint
from diffkd_d2.meta_arch.distilled_model import DistilledModel

WARNING = "gradient norms"


class Watch(HookBase):
    """Keep the ratio of gradient norms, and the factor, of each step as it is taken."""

    def __init__(self, model):
        self.model, self.ratios, self.scales = model, [], []

    def after_forward(self, losses, scale=1.0):
        task, distillation = task_and_distillation(losses, self.model.loss_to_point)
        gradients = Gradients(self.model.student, distillation, scale)
        self.ratios.append(gradients.distillation / (gradients.norm(task) or math.nan))
        self.scales.append(self.model.distill_scale)


def make(balance, weight=1.0, window=(0, 0, None), lr=0.0, first=0, points=None, factor=1.0, **options):
    """Return a trainer, its hook and what watches it.

    Args:
        balance: `distill.balance`.
        weight: weight of the points.
        window: start, warm-up and stop.
        lr: learning rate; unless it is 0, each iteration has a batch of its own.
        first: iteration of the first batch.
        points: points in place of two levels of mimic.
        factor: `distill.weight`.
        options: of the trainer.
    """
    torch.manual_seed(0)
    if points is None:
        points = [DistillPoint("backbone", "backbone", Mimic(4, 6), key=key, weight=weight) for key in ("p2", "p3")]
    model = DistilledModel(Net(4), Net(6), points)
    model.student.norm = nn.Identity()  # the squares of what a batch norm returns have almost no gradient
    batches = [images((16, 24)) for _ in range(80)][first:] if lr else [images((16, 24))] * 80
    trainer = Trainer(model, batches, torch.optim.SGD(model.parameters(), lr=lr), **options)
    watch = Watch(model)
    hook = BalanceHook(model, balance, window[0], period=10)
    trainer.register_hooks([DistillHook(model, *window, factor), hook, watch])
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


def test_the_weight_of_distillation_multiplies_the_balance():
    trainer, _, watch = make(0.5, factor=3.0)
    trainer.train(0, 12)
    assert watch.ratios == pytest.approx([1.5] * 12, rel=1e-3)


class Weighted(nn.Module):
    """A squared distance times a number."""

    def __init__(self, value=1.0):
        super().__init__()
        self.value = value

    def forward(self, student, teacher, mask=None):
        return {"loss_kd": self.value * (student - teacher[:, : student.shape[1]]).square().mean()}


LEVELS = DistillPoint("backbone", "backbone", Review(4, 6, 2, inner_channels=8), levels=("p2", "p3"), weight=7.0)


@pytest.mark.parametrize(
    "points",
    [
        [LEVELS],
        [DistillPoint("backbone", "backbone", MaskedGenerative(4, 6), key="p2", weight=2e-5)],
        [DistillPoint("backbone", "backbone", DiffKD(4, 6), key="p2"), LEVELS],
    ],
    ids=["levels", "random draws", "several, with losses of their own"],
)
def test_every_kind_of_point_is_balanced(points):
    trainer, _, watch = make(0.25, points=points)
    trainer.train(0, 2)
    assert watch.ratios[0] == pytest.approx(0.25, rel=1e-4)


def test_without_points_nothing_is_measured_or_logged():
    trainer, hook, _ = make(0.5, points=[])
    trainer._hooks = [h for h in trainer._hooks if not isinstance(h, Watch)]
    trainer.train(0, 3)
    assert (hook.tried, hook.factor) == (0, 1.0) and "distill_balance" not in trainer.storage.latest()


def test_accumulated_batches_use_the_factor_that_the_first_measures():
    trainer, hook, watch = make(0.5, weight=100.0, accumulate=2)
    seen = []
    forward = trainer.model.forward
    trainer.model.forward = lambda batch: seen.append(trainer.model.distill_scale) or forward(batch)
    trainer.train(0, 1)
    assert hook.measured == 1 and seen == [1.0, hook.factor]
    assert watch.ratios == pytest.approx([0.5], rel=1e-4)


@pytest.mark.parametrize("amp", [None, "bfloat16"])
def test_neither_loss_scaling_nor_autocast_changes_the_factor(amp):
    factors = []
    for scale in (1.0, 65536.0):
        trainer, hook, _ = make(0.5, amp=amp)
        hook_after = hook.after_forward
        hook.after_forward = lambda losses, _, f=hook_after, s=scale: f(losses, s)
        trainer.train(0, 1)
        factors.append(hook.factor)
    exact, hook, _ = make(0.5)
    exact.train(0, 1)
    assert factors[0] == pytest.approx(factors[1], rel=1e-4) == pytest.approx(hook.factor, rel=0.05)


@pytest.mark.parametrize("value", [0.0, math.nan, math.inf])
@pytest.mark.parametrize("which", ["task", "distillation"])
def test_a_gradient_of_zero_or_not_finite_is_not_used(which, value, caplog):
    """The hook waits for a gradient that it can use, and then measures as at the start."""
    trainer, hook, watch = make(0.5, points=[DistillPoint("backbone", "backbone", Weighted(), key="p2")], lr=1e-6)
    model = trainer.model
    if which == "task":
        head, model.student.head = model.student.head, Times(model.student.head, value)
    else:
        model.points[0].distiller.value = value
    trainer.guard.max_skipped = 100
    trainer.train(0, 3)
    assert hook.measured == 0 and hook.factor == 1.0
    if value == 0:
        assert WARNING in caplog.text
    if which == "task":
        model.student.head = head
    else:
        model.points[0].distiller.value = 1.0
    trainer.train(3, 5)
    assert watch.ratios[-2] == pytest.approx(0.5, rel=1e-3) and math.isfinite(hook.factor)


def test_frozen_parameters_are_in_neither_norm():
    trainer, _, watch = make(0.5)
    trainer.model.student.backbone.p2.bias.requires_grad_(False)
    trainer.train(0, 2)
    assert watch.ratios == pytest.approx([0.5] * 2, rel=1e-4)


def test_a_student_frozen_where_distillation_reaches_is_a_warning(caplog):
    trainer, hook, _ = make(0.5)
    trainer.model.student.backbone.requires_grad_(False)
    trainer.train(0, 30)
    assert hook.measured == 0 and caplog.text.count("0 of distillation in the student, not used") == FIRST + 2


def test_dropped_losses_are_not_measured():
    trainer, hook, _ = make(0.5, points=[DistillPoint("backbone", "backbone", Weighted(), key="p2")], drop_distill=True)
    trainer._hooks = [h for h in trainer._hooks if not isinstance(h, Watch)]
    trainer.model.points[0].distiller.value = math.nan
    trainer.train(0, 2)
    assert trainer.guard.dropped == 2 and hook.tried == 0


def test_switched_on_in_a_resumed_run_it_measures_at_once():
    """Iteration 25 is none that the period measures, and the checkpoint has no state of the hook."""
    trainer, hook, watch = make(0.5, weight=50.0)
    trainer.train(25, 27)
    assert hook.measured == 2 and watch.ratios == pytest.approx([0.5] * 2, rel=1e-3)


class Checkpointed(nn.Module):
    """A layer whose graph supports `backward` only."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return checkpoint(self.layer, x.requires_grad_(), use_reentrant=True)


def test_a_graph_that_cannot_be_measured_is_one_line():
    trainer, _, _ = make(0.5)
    trainer.model.student.backbone.p3 = Checkpointed(trainer.model.student.backbone.p3)
    with pytest.raises(UserError, match="distill.balance cannot measure gradients: .*checkpoint"):
        trainer.train(0, 1)


@pytest.mark.slow
def test_two_processes_have_one_factor(tmp_path):
    """It is that of the mean norms; their images differ."""
    run_two("balance", tmp_path)
    one, other = (torch.load(tmp_path / f"factors{rank}.pth") for rank in (0, 1))
    assert one["factors"] == other["factors"] and len(set(one["factors"])) == 3
    assert one["norms"][0] != other["norms"][0]
    mean = [sum(x) / 2 for x in zip(one["norms"], other["norms"], strict=True)]
    assert one["factors"][0] == pytest.approx(0.5 * mean[0] / mean[1], rel=1e-4)


class Times(nn.Module):
    """A layer whose output is multiplied by a number."""

    def __init__(self, layer, value):
        super().__init__()
        self.layer, self.value = layer, value

    def forward(self, x):
        return self.value * self.layer(x)
