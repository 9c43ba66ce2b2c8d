"""What a run starts from, what an evaluation loads, and whose folder it is."""

import json
from types import SimpleNamespace

import pytest
import torch
from commands import train_net
from detectron2.config import LazyCall as L
from detectron2.data.transforms import RandomFlip
from omegaconf import OmegaConf
from small_data import train_loader
from torch import nn

from diffkd_d2.checkpoint.checkpointer import Checkpointer
from diffkd_d2.checkpoint.run_folder import Run
from diffkd_d2.distillers import KD
from diffkd_d2.engine.defaults import distill_defaults, train_defaults
from diffkd_d2.engine.weights import (
    claim_output_folder,
    load_for_evaluation,
    load_weights,
    run_settings,
    start_folder,
)
from diffkd_d2.errors import UserError
from diffkd_d2.meta_arch.distill_point import DistillPoint
from diffkd_d2.modeling.teacher import inherit, load_teacher, require_loaded


def config(folder, **train):
    defaults = dict(
        device="cpu", init_checkpoint="", init_prefix="", inherit=[], output_dir=str(folder), overwrite=False
    )
    return OmegaConf.create(
        dict(train={**defaults, **train}, model=dict(teacher=dict(weights=train.get("teacher", ""))))
    )


def test_a_teacher_that_no_loader_loaded_is_an_error(tmp_path):
    torch.save(nn.Linear(3, 2).state_dict(), tmp_path / "t.pth")
    loaded = load_teacher(nn.Linear(3, 2), tmp_path / "t.pth")
    require_loaded([])
    require_loaded([loaded])
    with pytest.raises(
        UserError, match="teacher 1, a Linear, has random weights: model.teacher must be L.load_teacher"
    ):
        require_loaded([loaded, nn.Linear(3, 2)])


def test_a_text_to_inherit_is_one_prefix():
    student, teacher = nn.ModuleDict(dict(ab=nn.Linear(2, 2), b=nn.Linear(2, 2))), nn.ModuleDict()
    teacher.update(dict(ab=nn.Linear(2, 2), b=nn.Linear(2, 2)))
    assert inherit(student, teacher, "ab") == ["ab.weight", "ab.bias"]
    with pytest.raises(UserError, match="nothing under 'ba'"):
        inherit(student, teacher, "ba")
    with pytest.raises(UserError, match="train.inherit holds ''"):
        inherit(student, teacher, [""])


def test_an_evaluation_wants_every_key_but_the_expected(tmp_path):
    torch.save({"weight": torch.ones(2, 3)}, tmp_path / "x.pth")
    model = nn.Linear(3, 2)
    with pytest.raises(UserError, match="x.pth does not fit the model: 1 missing: bias"):
        load_for_evaluation(Checkpointer(model), str(tmp_path / "x.pth"))
    load_for_evaluation(Checkpointer(model), str(tmp_path / "x.pth"), ["bias"])
    assert torch.equal(model.weight.detach(), torch.ones(2, 3))
    with pytest.raises(UserError, match="nothing to evaluate"):
        load_for_evaluation(Checkpointer(model, str(tmp_path / "empty")), "")


def test_a_fresh_start_leaves_nothing_of_the_run_before(tmp_path):
    net = nn.Linear(3, 2)
    model = SimpleNamespace(student=net, teachers=[])
    claim_output_folder(config(tmp_path), resume=False)
    Checkpointer(net, str(tmp_path)).save("model_0000001")
    (tmp_path / "metrics.json").write_text(json.dumps({"iteration": 1, "loss": 1.0}) + "\n")
    (tmp_path / "results.json").write_text("{}")
    with pytest.raises(UserError, match="holds checkpoints of another run"):
        claim_output_folder(config(tmp_path), resume=False)
    path = str(tmp_path / "model_0000001.pth")
    for name in (path, f"{path}?matching_heuristics=True"):  # fvcore's queries
        with pytest.raises(UserError, match="which this run reads"):
            claim_output_folder(config(tmp_path, overwrite=True, teacher=name), resume=False)
    cfg = config(tmp_path, overwrite=True)
    claim_output_folder(cfg, resume=False)
    assert load_weights(cfg, model, Checkpointer(net, str(tmp_path)), None, resume=False) == 0
    assert (tmp_path / "model_0000001.pth").exists()  # until the run really starts
    start_folder(cfg, resume=False)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["metrics.json", "run.json"]
    assert json.loads((tmp_path / "run.json").read_text())["devices"] == ["CPU"]
    assert (tmp_path / "metrics.json").read_text() == ""


def test_a_gpu_that_is_not_there_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"name of {device}")
    with pytest.raises(UserError, match=r"train.device is 'cuda:3', but this machine has 1 GPU"):
        claim_output_folder(config(tmp_path, device="cuda:3"), resume=False)
    claim_output_folder(config(tmp_path, device="cuda"), resume=False)
    assert json.loads((tmp_path / "run.json").read_text())["devices"] == ["name of cuda"]


def test_initial_weights_may_be_of_a_part(tmp_path):
    net, part = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2)), nn.Linear(2, 2)
    torch.save(part.state_dict(), tmp_path / "x.pth")
    model = SimpleNamespace(student=net, teachers=[])
    with pytest.raises(UserError, match="train.init_prefix is '1', but train.init_checkpoint is empty"):
        load_weights(config(tmp_path, init_prefix="1"), model, Checkpointer(net), None, resume=False)
    cfg = config(tmp_path, init_prefix="1", init_checkpoint=str(tmp_path / "x.pth"))
    load_weights(cfg, model, Checkpointer(net), None, resume=False)
    assert torch.equal(net[1].weight, part.weight)


def test_a_resumed_run_with_another_distillation_or_teacher_says_so(tmp_path, caplog):
    def run(teacher, tau=1.0, names="set", horizontal=True, **distill):
        torch.save(teacher.state_dict(), tmp_path / "t.pth")
        point = SimpleNamespace(name="p3", weight=2.0)
        model = SimpleNamespace(points=[point], teachers=[load_teacher(teacher, str(tmp_path / "t.pth"))])
        cfg = OmegaConf.create(
            dict(
                train=train_defaults(),
                distill={**distill_defaults(), **distill},
                model=dict(points=[L(DistillPoint)(student="a", teacher="a", weight=2.0, distiller=L(KD)(tau=tau))]),
                dataloader=dict(train=train_loader(names)),
            ),
            flags={"allow_objects": True},
        )
        cfg.dataloader.train.mapper.augmentations = [L(RandomFlip)(horizontal=horizontal)]
        return Run(tmp_path, ["p3"], run_settings(cfg, lambda where: 1.0, model))

    teacher = nn.Linear(3, 2)
    before = run(teacher).state_dict()
    run(teacher).load_state_dict(before)
    assert "--resume" not in caplog.text
    torch.save(before, tmp_path / "settings.pth")
    assert torch.load(tmp_path / "settings.pth", weights_only=True) == before
    run(nn.Linear(3, 2), tau=4.0, names="other", horizontal=False, weight=3.0, stop_iter=5).load_state_dict(before)
    assert "model.points.0.distiller.tau is 4.0, in the checkpoint 1.0; this run uses 4.0" in caplog.text
    assert "dataloader.train.dataset.names is other, in the checkpoint set" in caplog.text
    assert "'horizontal': False" in caplog.text
    assert "distill.weight is 3.0, in the checkpoint 1.0; this run uses 3.0" in caplog.text
    assert "distill.stop_iter is 5, in the checkpoint None" in caplog.text
    assert "the sha256 of teacher 0 is" in caplog.text and "point p3" not in caplog.text


def test_a_resumed_run_that_is_at_its_end_says_so(tmp_path, caplog):
    checkpointer, trainer = SimpleNamespace(resume=lambda: True), SimpleNamespace(iter=2)
    assert load_weights(config(tmp_path, max_iter=4), None, checkpointer, trainer, resume=True) == 3
    assert not caplog.records
    assert load_weights(config(tmp_path, max_iter=3), None, checkpointer, trainer, resume=True) == 3
    assert "3 iterations are done, train.max_iter is 3: nothing is left to train" in caplog.text


@pytest.mark.slow
def test_a_used_folder_as_a_user_sees_it(small_datasets, tmp_path):
    options = [f"train.output_dir={tmp_path}", "train.max_iter=1", "dataloader.train.total_batch_size=2"]
    first = train_net(small_datasets, "shapes/alone_retinanet_r18", *options)
    assert first.returncode == 0, first.stderr[-2000:]
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    second = train_net(small_datasets, "shapes/alone_retinanet_r18", *options)
    assert second.returncode == 2 and "holds checkpoints of another run (model_final.pth)" in second.stderr
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before
    third = train_net(small_datasets, "shapes/alone_retinanet_r18", *options, "train.overwrite=True")
    assert third.returncode == 0, third.stderr[-2000:]
    ids = [json.loads((tmp_path / "run.json").read_text())["id"]]
    ids.append(torch.load(tmp_path / "model_final.pth", weights_only=True)["run"]["id"])
    assert ids[0] == ids[1]
