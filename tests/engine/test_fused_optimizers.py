"""Fused optimizers: the same updates, exact resume, loss scaling, and the config's choice over the checkpoint's."""

import copy
import io

import pytest
import torch
from detectron2.config import instantiate
from detectron2.utils.events import EventStorage
from torch import nn

from diffkd_d2.engine.config import load_config
from diffkd_d2.engine.trainer import Trainer

OPTIMIZERS = [(torch.optim.SGD, {"momentum": 0.9}), (torch.optim.AdamW, {}), (torch.optim.Adam, {})]


class Task(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))

    def forward(self, x):
        return {"loss_task": self.layers(x).square().mean()}


def trainer(model, kind, options, fused):
    optimizer = kind(model.parameters(), lr=0.01, weight_decay=0.01, fused=fused, **options)
    result = Trainer(model, [torch.linspace(-1, 1, 8).view(2, 4)] * 20, optimizer)
    result.iter = 0
    return result


def run(trainer, steps):
    with EventStorage():
        for _ in range(steps):
            trainer.run_step()
    return [p.detach().clone() for p in trainer.model.parameters()]


@pytest.mark.parametrize(("kind", "options"), OPTIMIZERS)
def test_updates_equal_those_of_the_plain_optimizer(kind, options):
    model = Task()
    plain, fused = (run(trainer(copy.deepcopy(model), kind, options, f), 5) for f in (None, True))
    torch.testing.assert_close(fused, plain, rtol=1e-5, atol=1e-7)
    assert not torch.equal(fused[0], next(model.parameters()))


@pytest.mark.parametrize("saved_fused", [None, True])
@pytest.mark.parametrize("fused", [None, True])
@pytest.mark.parametrize(("kind", "options"), OPTIMIZERS)
def test_resume_is_exact_and_follows_the_config(kind, options, fused, saved_fused):
    model = Task()
    first = trainer(model, kind, options, saved_fused)
    run(first, 3)
    file = io.BytesIO()
    torch.save({"model": model.state_dict(), "trainer": first.state_dict()}, file)
    file.seek(0)
    checkpoint = torch.load(file, weights_only=True)
    resumed = trainer(Task(), kind, options, fused)
    resumed.model.load_state_dict(checkpoint["model"])
    resumed.load_state_dict(checkpoint["trainer"])
    assert resumed.optimizer.param_groups[0]["fused"] is fused
    expected, found = run(first, 3), run(resumed, 3)
    if fused == saved_fused:
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("bad", [True, False])
@pytest.mark.parametrize(("kind", "options"), OPTIMIZERS)
def test_loss_scaling_skips_steps_that_overflow(kind, options, bad):
    model = Task()
    optimizer = kind(model.parameters(), lr=0.01, fused=True, **options)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    scaler.scale(model(torch.ones(2, 4))["loss_task"]).backward()
    if bad:
        model.layers[0].bias.grad[0] = torch.inf
    scaler.unscale_(optimizer)
    before = [p.detach().clone() for p in model.parameters()]
    scaler.step(optimizer)
    scaler.update()
    changed = [not torch.equal(a, b) for a, b in zip(model.parameters(), before, strict=True)]
    assert any(changed) != bad
    assert scaler.get_scale() == (512.0 if bad else 1024.0)


@pytest.mark.parametrize("config", ["coco/diffkd_r50", "shapes/diffkd_retinanet_r18"])
def test_shipped_optimizers_are_fused(config):
    cfg = load_config(f"configs/{config}.py", [])
    node = {**cfg.optimizer, "params": [nn.Parameter(torch.zeros(2))]}
    assert instantiate(node).param_groups[0]["fused"] is True
