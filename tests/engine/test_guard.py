"""Steps that are not finite leave no trace; the report on the scale of the losses changes nothing."""

import copy
import logging
import math
import re

import pytest
import torch
from detectron2.utils.events import EventStorage
from torch import nn

from diffkd_d2.distillers import DiffKD
from diffkd_d2.engine.gradient_report import GradientReportHook, Gradients
from diffkd_d2.engine.guard import TooManySkippedError
from diffkd_d2.engine.hooks import DistillHook
from diffkd_d2.engine.trainer import Trainer
from diffkd_d2.meta_arch.distill_point import DistillPoint
from diffkd_d2.meta_arch.distilled_model import DistilledModel


class Net(nn.Module):
    """A student with running statistics."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)

    def forward(self, inputs):
        x = self.norm(self.conv(torch.stack([i["image"] for i in inputs])))
        return {"loss_task": x.square().mean() + self.conv.weight.sum()}


class Rude(nn.Module):
    """A distiller whose loss, or whose gradient, can be told not to be finite."""

    def __init__(self):
        super().__init__()
        self.align, self.value, self.norm = nn.Conv2d(4, 4, 1), 1.0, nn.BatchNorm2d(4)

    def forward(self, student, teacher, mask):
        x = self.norm(self.align(student) * (math.nan if math.isnan(self.value) else 1.0))
        # At zero, the square root has no finite gradient.
        extra = (0.0 * x).sum().sqrt() if self.value == 0 else 0.0
        return {"loss_kd": self.value * (x - teacher).square().mean() + extra}


def make_trainer(count=6, **options):
    torch.manual_seed(0)
    model = DistilledModel(Net(), Net(), [DistillPoint("conv", "conv", Rude(), name="here")])
    batch = [dict(image=torch.randn(3, 5, 5), file_name=f"{name}.jpg") for name in "ab"]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    return Trainer(model, [batch] * count, optimizer, **options)


def state(trainer):
    return copy.deepcopy([*trainer.model.state_dict().values(), trainer.optimizer.state_dict()["state"]])


def equal(a, b):
    return all(torch.equal(x, y) for x, y in zip(a[:-1], b[:-1], strict=True)) and str(a[-1]) == str(b[-1])


@pytest.mark.parametrize(
    ("value", "found"), [(math.nan, r"loss_kd_here \(point 'here'\) is nan"), (0.0, "align.weight")]
)
def test_a_step_that_is_not_finite_leaves_no_trace(value, found, caplog):
    trainer = make_trainer()
    with EventStorage() as storage:
        trainer.run_step()
        before = state(trainer)
        trainer.model.points[0].distiller.value = value
        trainer.run_step()
        assert equal(before, state(trainer))
        assert trainer.guard.skipped == trainer.guard.in_a_row == 1
        assert storage.latest()["skipped_steps"][0] == 1
        trainer.model.points[0].distiller.value = 1.0
        trainer.run_step()
    assert not equal(before, state(trainer)) and trainer.guard.in_a_row == 0
    line = next(r.getMessage() for r in caplog.records if "not finite" in r.getMessage())
    assert re.search(found, line) and "images: a.jpg, b.jpg" in line


def test_too_many_in_a_row_end_the_run():
    trainer = make_trainer(max_skipped=3)
    trainer.model.points[0].distiller.value = math.nan
    before = state(trainer)
    with EventStorage():
        for _ in range(2):
            trainer.run_step()
        with pytest.raises(TooManySkippedError, match="3 steps in a row"):
            trainer.run_step()
    assert equal(before, state(trainer))
    other = make_trainer()
    other.iter, trainer.iter = 5, 5
    other.load_state_dict(trainer.state_dict())
    assert (other.guard.skipped, other.guard.in_a_row) == (3, 3)


def test_distillation_alone_can_be_dropped():
    trainer, plain = make_trainer(drop_distill=True), make_trainer()
    trainer.model.points[0].distiller.value = math.nan
    points = copy.deepcopy(trainer.model.points.state_dict())
    task = DistilledModel(copy.deepcopy(plain.model.student))
    optimizer = torch.optim.SGD(task.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    alone = Trainer(task, plain.data_loader, optimizer)
    with EventStorage():
        trainer.run_step()
        alone.run_step()
    for ours, theirs in zip(
        trainer.model.student.state_dict().values(), task.student.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(ours, theirs)
    assert all(torch.equal(v, points[k]) for k, v in trainer.model.points.state_dict().items())
    assert trainer.guard.dropped == 1 and trainer.guard.skipped == 0


@pytest.mark.parametrize(("scale", "counted"), [(1024.0, 0), (0.5, 1)])
def test_an_overflow_of_float16_is_the_scalers_matter(scale, counted):
    trainer = make_trainer()
    trainer.grad_scaler = torch.amp.GradScaler("cpu", init_scale=scale)
    with EventStorage():
        trainer.run_step()
        before = copy.deepcopy(list(trainer.model.parameters()))
        trainer.model.points[0].distiller.value = 0.0
        trainer.run_step()
        assert all(map(torch.equal, before, trainer.model.parameters()))
        assert trainer.guard.skipped == counted and trainer.grad_scaler.get_scale() == scale / 2
        trainer.model.points[0].distiller.value = 1.0
        trainer.run_step()
    assert not any(map(torch.equal, before, trainer.model.student.parameters()))


def distilling_trainer(weight):
    torch.manual_seed(0)
    point = DistillPoint("conv", "conv", DiffKD(4, 4, num_function_evals=2), weight=weight, name="here")
    model = DistilledModel(Net(), Net(), [point])
    batch = [dict(image=torch.randn(3, 8, 8)) for _ in range(2)]
    return Trainer(model, [batch] * 4, torch.optim.SGD(model.parameters(), lr=0.01))


def test_the_report_changes_nothing_and_warns(caplog):
    with_it, without = distilling_trainer(1e4), distilling_trainer(1e4)
    caplog.set_level(logging.INFO)
    with_it.register_hooks([GradientReportHook(with_it.model, after=(0, 1))])
    for trainer in (with_it, without):
        torch.manual_seed(1)
        trainer.train(0, 3)
    for a, b in zip(with_it.model.state_dict().values(), without.model.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    tables = [r.getMessage() for r in caplog.records if "gradient norms in the student" in r.getMessage()]
    assert len(tables) == 2 and "loss_kd_here" in tables[0] and "loss_diffusion_here" not in tables[0]
    assert "distillation pulls at the student" in caplog.text
    assert "distill.weight for a ratio of gradient norms" in tables[0]


def test_gradient_norms_of_reached_parameters():
    """The point lies before the norm, whose parameters have a gradient of the task alone."""
    trainer = distilling_trainer(1.0)
    losses = trainer.model(trainer.data_loader[0])
    gradients = Gradients(trainer.model.student, losses["loss_kd_here"], scale=64.0)
    found = gradients.norm(losses["loss_task"]), gradients.distillation
    conv = list(trainer.model.student.conv.parameters())
    for norm, name in zip(found, ("loss_task", "loss_kd_here"), strict=True):
        trainer.model.zero_grad()
        losses[name].backward(retain_graph=True)
        assert norm == pytest.approx(math.sqrt(sum(float(p.grad.square().sum()) for p in conv)), rel=1e-5)
    assert len(gradients.reached) == len(conv)


@pytest.mark.parametrize("weight", [1.0, 30.0])
def test_the_weight_at_the_end_of_the_report_gives_the_ratio(weight, caplog):
    """Whatever `distill.weight` and warm-up are in the run that reports."""
    caplog.set_level(logging.INFO)

    def report(weight, warm_up):
        trainer = distilling_trainer(1.0)
        hooks = [DistillHook(trainer.model, 0, warm_up, None, weight), GradientReportHook(trainer.model, weight=weight)]
        trainer.register_hooks(hooks)
        torch.manual_seed(1)
        caplog.clear()
        trainer.train(0, 1)
        (text,) = [r.getMessage() for r in caplog.records if "gradient norms in the student" in r.getMessage()]
        return text

    ends = report(weight, 4).splitlines()[-1]
    assert ends.startswith("distill.weight for a ratio of gradient norms: ")
    weights = {float(ratio): float(value) for value, ratio in re.findall(r"(\S+) for ([\d.]+)", ends.split(": ")[1])}
    assert weights.keys() == {0.1, 0.5, 1.0}
    for ratio, value in weights.items():
        row = next(line for line in report(value, 0).splitlines() if line.startswith("all of them"))
        assert float(row.split()[-1]) == pytest.approx(ratio, rel=0.02)


def test_the_report_leaves_out_dropped_losses():
    trainer = make_trainer(drop_distill=True)
    trainer.register_hooks([GradientReportHook(trainer.model)])
    trainer.model.points[0].distiller.value = math.nan
    trainer.train(0, 1)
    assert trainer.guard.dropped == 1


def test_a_run_may_go_on_in_another_precision():
    before, after = make_trainer(), make_trainer()
    after.grad_scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    before.iter = 0
    after.load_state_dict(before.state_dict())
    assert after.grad_scaler.get_scale() == 8.0
