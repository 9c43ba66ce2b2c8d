"""Trainer, hooks and start-up, in this process."""

import math
import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from detectron2.data.common import AspectRatioGroupedDataset
from detectron2.structures import Instances
from detectron2.utils.events import EventStorage
from omegaconf import OmegaConf
from torch import nn
from torch.utils.data import DataLoader, Dataset

from diffkd_d2.checkpoint.files import read_checkpoint
from diffkd_d2.distillers import Mimic
from diffkd_d2.engine.hooks import AverageHook, DistillHook, PreciseBN
from diffkd_d2.engine.preflight import try_first_batch, warn_of_random_weights
from diffkd_d2.engine.trainer import Trainer
from diffkd_d2.engine.weights import load_weights
from diffkd_d2.errors import ProjectError, UserError
from diffkd_d2.meta_arch.distill_point import DistillPoint
from diffkd_d2.meta_arch.distilled_model import DistilledModel
from diffkd_d2.modeling.teacher import inherit
from diffkd_d2.modeling.yaml_model import yaml_model


class Task(nn.Module):
    """Two parts whose gradients differ by a factor of 1,000."""

    def __init__(self):
        super().__init__()
        self.student, self.points = nn.Linear(4, 1), nn.Linear(4, 1)

    def forward(self, x):
        return {"loss_task": self.student(x).square().mean(), "loss_kd": 1000 * self.points(x).square().mean()}


def test_gradients_are_clipped_apart():
    model = Task()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    trainer = Trainer(
        model, [torch.ones(2, 4)] * 9, optimizer, clip_norm=0.01, clip_modules=[model.student, model.points]
    )
    with EventStorage():
        trainer.run_step()
    for part in (model.student, model.points):
        norm = math.sqrt(sum(float(p.grad.square().sum()) for p in part.parameters()))
        assert norm == pytest.approx(0.01, rel=1e-3)


def test_accumulated_batches_make_the_update_of_one_large_batch():
    batches = [torch.randn(2, 4) for _ in range(6)]
    large = [torch.cat(batches[i : i + 3]) for i in (0, 3)]
    found = []
    for data, accumulate in ((batches, 3), (large, 1)):
        torch.manual_seed(0)
        model = Task()
        trainer = Trainer(model, data, torch.optim.SGD(model.parameters(), lr=1e-4), accumulate=accumulate)
        with EventStorage() as storage:
            for trainer.iter in range(2):
                trainer.run_step()
            found.append([*model.parameters(), torch.tensor(storage.latest()["total_loss"][0])])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b)


def test_the_average_of_the_student_by_hand(tmp_path):
    student = nn.Sequential(nn.Linear(1, 1), nn.BatchNorm1d(1))
    hook = AverageHook(student, 0.75, tmp_path / "model_ema.pth")
    for value in (1.0, 5.0, 9.0):
        nn.init.constant_(student[0].weight, value)
        nn.init.constant_(student[1].running_mean, -value)
        hook.after_step()
    expected = 0.75 * (0.75 * 1 + 0.25 * 5) + 0.25 * 9
    AverageHook(student, 0.75, tmp_path / "no_step.pth").after_train()  # a run that failed in its first step
    assert not (tmp_path / "no_step.pth").exists()
    hook.after_train()
    written = read_checkpoint(tmp_path / "model_ema.pth")["model"]
    assert written["0.weight"].item() == pytest.approx(expected)
    assert written["1.running_mean"].item() == pytest.approx(-expected)
    with pytest.raises(UserError, match="train.ema_decay is 1.5"):
        AverageHook(student, 1.5, tmp_path)


def test_mixed_precision_on_a_cpu():
    model = Task()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    trainer = Trainer(model, [torch.ones(2, 4)] * 9, optimizer, amp="bfloat16")
    seen = []
    model.student.register_forward_hook(lambda m, i, out: seen.append(out.dtype))
    before = model.student.weight.detach().clone()
    with EventStorage():
        trainer.run_step()
    assert seen == [torch.bfloat16] and model.student.weight.dtype == torch.float32
    assert not torch.equal(before, model.student.weight)
    for amp, message in (("float16", "needs a GPU"), ("half", "expected one of")):
        with pytest.raises(UserError, match=message):
            Trainer(model, [], optimizer, amp=amp)


def test_the_window_of_the_kd_loss():
    hook = DistillHook(None, start_iter=10, warmup_iters=4, stop_iter=20)
    assert [hook.scale(i) for i in (0, 9, 10, 11, 13, 14, 19, 20, 99)] == pytest.approx(
        [0, 0, 0.2, 0.4, 0.8, 1, 1, 0, 0]
    )
    assert DistillHook(None).scale(0) == 1
    for wrong in (dict(start_iter=-1), dict(start_iter=5, stop_iter=5), dict(warmup_iters=-2)):
        with pytest.raises(UserError, match="distill window"):
            DistillHook(None, **wrong)


class Startable(list):
    """Stands for a loader that can start at any position."""

    start = 0


def test_the_hook_sets_the_scale_and_writes_metrics():
    model = SimpleNamespace(distill_scale=1.0, points=["p3"], metrics={"gamma_p3": torch.tensor(0.25)})
    hook = DistillHook(model, warmup_iters=3, period=2)
    with EventStorage() as storage:
        hook.trainer = SimpleNamespace(iter=1, storage=storage)
        hook.before_step()
        hook.after_step()
        assert model.distill_scale == 0.5
        assert {k: v for k, (v, _) in storage.latest().items()} == {"gamma_p3": 0.25, "distill_scale": 0.5}
        assert storage.smoothing_hints() == {"gamma_p3": True, "distill_scale": False}


def test_the_scale_is_written_for_a_distiller_without_metrics():
    hook = DistillHook(SimpleNamespace(distill_scale=1.0, points=["p3"], metrics={}), period=1)
    with EventStorage() as storage:
        hook.trainer = SimpleNamespace(iter=0, storage=storage)
        hook.after_step()
        assert storage.latest()["distill_scale"][0] == 1.0


@pytest.mark.parametrize(("loader", "built"), [(list, 2), (Startable, 1)])
def test_precise_batch_norm_builds_a_loader_again_that_cannot_restart(loader, built):
    calls = []

    def build():
        calls.append(loader([torch.randn(4, 2), torch.randn(4, 2)]))
        return calls[-1]

    net = nn.Sequential(nn.BatchNorm1d(2)).train()
    hook = PreciseBN(1, net, build, 1)
    for _ in range(2):
        hook.update_stats()
        torch.testing.assert_close(net[0].running_mean, calls[-1][0].mean(dim=0))  # of the first batch each time
    assert len(calls) == built


def test_a_student_inherits_where_shapes_agree():
    student, teacher = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 3)), nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 4))
    before = student[1].weight.clone()
    assert inherit(student, teacher, ["0."]) == ["0.weight", "0.bias"]
    assert torch.equal(student[0].weight, teacher[0].weight) and torch.equal(student[1].weight, before)
    assert inherit(student, teacher, []) == []
    with pytest.raises(UserError, match="nothing under '1.'"):
        inherit(student, teacher, ["0.", "1."])


@pytest.mark.parametrize(("resume", "inherited"), [(False, True), (True, False)])
def test_a_resumed_run_inherits_nothing(resume, inherited, tmp_path, caplog):
    student, teacher = nn.Linear(2, 2), nn.Linear(2, 2)
    model = SimpleNamespace(student=student, teachers=[teacher])
    cfg = OmegaConf.create(dict(train=dict(init_checkpoint="", inherit="w", output_dir=str(tmp_path), max_iter=9)))
    checkpointer = SimpleNamespace(resume=lambda: True, load=lambda *_, **__: None)
    with caplog.at_level("INFO", logger="diffkd_d2.modeling.teacher"):
        first = load_weights(cfg, model, checkpointer, SimpleNamespace(iter=4), resume)
    assert first == (5 if resume else 0)
    assert torch.equal(student.weight, teacher.weight) == inherited
    assert ("inherits 1 tensors from the teacher: weight" in caplog.text) == inherited


def test_random_frozen_parameters_are_a_warning(caplog):
    warn_of_random_weights("", nn.Linear(2, 2))
    warn_of_random_weights("there.pth", nn.Linear(2, 2).requires_grad_(False))
    assert not caplog.records
    warn_of_random_weights("", nn.Linear(2, 2).requires_grad_(False))
    assert "6 parameters of the student are frozen" in caplog.text


def test_a_yaml_config_that_is_not_there():
    with pytest.raises(UserError, match="no YAML config 'COCO-Detection/nothing.yaml'"):
        yaml_model("COCO-Detection/nothing.yaml")


def test_a_yaml_config_with_options():
    model = yaml_model("COCO-Detection/retinanet_R_50_FPN_1x.yaml", ["MODEL.RETINANET.NUM_CLASSES", 7])
    assert model.num_classes == 7
    with pytest.raises(UserError, match="MODEL.RETINANET.NUM_CLASES"):
        yaml_model("COCO-Detection/retinanet_R_50_FPN_1x.yaml", ["MODEL.RETINANET.NUM_CLASES", 7])


class Noisy(nn.Module):
    """A student that draws numbers and keeps statistics, as dropout and batch norm do."""

    def __init__(self, channels=2):
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, inputs):
        x = torch.stack([x["image"] for x in inputs])
        return {"loss": (self.norm(x) * torch.rand(())).mean()}


def test_trial_of_points():
    model = DistilledModel(Noisy(), Noisy(), [DistillPoint("norm", "norm", Mimic(2, 2))])
    loader = [[dict(image=torch.randn(2, 8, 8)), dict(image=torch.randn(2, 8, 8))] for _ in range(3)]
    before = [buffer.clone() for buffer in model.buffers()]
    states = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    assert all(a is b for a, b in zip(try_first_batch(model, loader), loader, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(before, model.buffers(), strict=True))
    assert torch.equal(states[0], torch.get_rng_state()) and states[2] == random.getstate()
    assert states[1] == np.random.get_state()[1].tolist()
    assert all(p.grad is None for p in model.parameters()) and model.metrics == {}
    wrong = DistilledModel(Noisy(), Noisy(), [DistillPoint("norm", "norm", Mimic(3, 2), name="there")])
    with pytest.raises(UserError, match="point 'there': .*3"):
        try_first_batch(wrong, loader)
    assert list(try_first_batch(DistilledModel(Noisy()), loader)) == loader
    with pytest.raises(ProjectError, match="the first training batch: test_engine.py line .*: KeyError: 'image'"):
        try_first_batch(DistilledModel(Noisy()), [[{}]])  # without points the student alone is tried


def test_trial_of_a_model_whose_targets_are_missing():
    class Masks(Noisy):
        def forward(self, batched_inputs):
            return {"loss": Instances((2, 2)).gt_masks}

    cure = "Cannot find field 'gt_masks' .* .Set dataloader.train.mapper.use_instance_mask=True"
    with pytest.raises(UserError, match=cure):
        try_first_batch(DistilledModel(Masks()), [[{}]])


def test_trial_runs_teachers_to_the_end():
    class Twice(Noisy):
        def forward(self, batched_inputs):
            super().forward(batched_inputs)
            return super().forward(batched_inputs)

    model = DistilledModel(Noisy(), Twice(), [DistillPoint("norm", "norm", Mimic(2, 2))])
    loader = [[dict(image=torch.randn(2, 8, 8))]]
    model.train()(loader[0])  # in training the teacher stops early, and the second run is not seen
    with pytest.raises(UserError, match="norm.* ran several times"):
        try_first_batch(model, loader)
    model(loader[0])

    class Broken(Noisy):
        def forward(self, batched_inputs):
            super().forward(batched_inputs)
            raise NotImplementedError("no head")

    model = DistilledModel(Noisy(), Broken(), [DistillPoint("norm", "norm", Mimic(2, 2))])
    assert try_first_batch(model, loader) is not None


def test_trial_keeps_aspect_ratio_groups():
    model = DistilledModel(Noisy(), Noisy(), [DistillPoint("norm", "norm", Mimic(2, 2))])
    records = [dict(image=torch.full((2, 8, 8), float(i)), width=8, height=9) for i in range(6)]
    batches = list(try_first_batch(model, AspectRatioGroupedDataset(records, batch_size=2)))
    assert [[float(x["image"][0, 0, 0]) for x in batch] for batch in batches] == [[0, 1], [2, 3], [4, 5]]


def test_the_workers_seeds_of_a_projects_loader_do_not_depend_on_the_model():
    class Drawn(Dataset):
        def __len__(self):
            return 4

        def __getitem__(self, index):
            return {"image": torch.rand(2, 4, 4)}

    found = []
    for drawn in (0, 7):  # as many numbers as teacher and distillers may draw
        torch.manual_seed(3)
        torch.rand(drawn)
        loader = DataLoader(Drawn(), num_workers=1, collate_fn=list)
        found.append([x["image"].sum().item() for (x,) in try_first_batch(DistilledModel(Noisy()), loader, seed=5)])
    assert found[0] == found[1]
