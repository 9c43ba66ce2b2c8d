"""Whose checkpoints a folder holds."""

import json
import os

import pytest
import torch
from torch import nn

from diffkd_d2.checkpoint.checkpointer import Checkpointer
from diffkd_d2.checkpoint.run_folder import Run, claim_folder, clear_folder, read_run_id
from diffkd_d2.engine.optimizer import settings_that_differ
from diffkd_d2.engine.trainer import Trainer
from diffkd_d2.errors import UserError


def checkpointer(folder, weight=None, points=("p3",), **settings):
    net = nn.Linear(3, 2)
    if weight is not None:
        nn.init.constant_(net.weight, weight)
    return Checkpointer(net, str(folder), run=Run(folder, points, settings))


def begin(folder, *iterations):
    claim_folder(folder, resume=False)
    for i in iterations:
        checkpointer(folder, i).save(f"model_{i:07d}")


def test_used_folder_is_refused(tmp_path):
    begin(tmp_path, 1, 3)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(
        UserError, match=r"holds checkpoints of another run \(model_0000003.pth\).*train.overwrite=True"
    ):
        claim_folder(tmp_path, resume=False)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    claim_folder(tmp_path, resume=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_resumed_run_names_each_device_once(tmp_path):
    for device in ("CPU", "a GPU", "CPU"):
        claim_folder(tmp_path, resume=True, device=device)
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["devices"] == ["CPU", "a GPU"] and read_run_id(tmp_path) == record["id"]
    claim_folder(tmp_path, resume=False, device="CPU")
    assert json.loads((tmp_path / "run.json").read_text())["devices"] == ["CPU"]
    assert read_run_id(tmp_path) != record["id"]


def test_a_dry_run_is_refused_alike_and_writes_nothing(tmp_path):
    claim_folder(tmp_path, resume=False, dry_run=True)
    assert not list(tmp_path.iterdir())
    begin(tmp_path, 1)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(UserError, match="holds checkpoints of another run"):
        claim_folder(tmp_path, resume=False, dry_run=True)
    claim_folder(tmp_path, resume=False, overwrite=True, dry_run=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_overwrite_hides_old_checkpoints_at_once(tmp_path):
    begin(tmp_path, 1, 3)
    claim_folder(tmp_path, resume=False, overwrite=True)
    # The new run dies here, before its first checkpoint.
    with pytest.raises(UserError, match="no checkpoint in .* is of run"):
        checkpointer(tmp_path).resume()
    clear_folder(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]
    assert not checkpointer(tmp_path).resume()


def test_overwrite_removes_the_events_and_results_of_the_former_run(tmp_path):
    begin(tmp_path, 1)
    for name in ("events.out.tfevents.1", "results.json"):
        (tmp_path / name).write_text("of the earlier run")
        os.utime(tmp_path / name, (1e9, 1e9))
    claim_folder(tmp_path, resume=False, overwrite=True)
    own = {"events.out.tfevents.2", "results_teacher_check.json"}  # written before the first step
    for name in own:
        (tmp_path / name).write_text("of this run")
    clear_folder(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"run.json", *own}


def test_no_fallback_to_another_run(tmp_path):
    begin(tmp_path, 1)
    former = {name: (tmp_path / name).read_bytes() for name in ("model_0000001.pth", "model_0000001.pth.sha256")}
    clear_folder(tmp_path)
    begin(tmp_path, 3, 5)
    for name, content in former.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "model_0000005.pth").write_bytes(b"")
    own = checkpointer(tmp_path)
    assert own.resume() and float(own.model.weight[0, 0].detach()) == 3
    (tmp_path / "model_0000003.pth").write_bytes(b"")
    with pytest.raises(UserError, match="no checkpoint in .* is of run"):
        checkpointer(tmp_path).resume()


def test_resume_without_checkpoint_starts_over(tmp_path):
    claim_folder(tmp_path, resume=False)
    first = json.loads((tmp_path / "run.json").read_text())["id"]
    claim_folder(tmp_path, resume=True)
    assert not checkpointer(tmp_path).resume() and json.loads((tmp_path / "run.json").read_text())["id"] == first
    claim_folder(tmp_path, resume=False)
    assert json.loads((tmp_path / "run.json").read_text())["id"] != first


def test_run_id_is_in_checkpoints(tmp_path):
    begin(tmp_path, 1)
    run_id = json.loads((tmp_path / "run.json").read_text())["id"]
    claim_folder(tmp_path, resume=True)
    again = checkpointer(tmp_path)
    assert again.resume()
    again.save("model_0000009")
    for i in (1, 9):
        assert torch.load(tmp_path / f"model_000000{i}.pth", weights_only=True)["run"]["id"] == run_id


def test_checkpoints_without_id_are_resumed(tmp_path):
    for i in (1, 3):
        Checkpointer(nn.Linear(3, 2), str(tmp_path)).save(f"model_000000{i}")
    claim_folder(tmp_path, resume=True)
    again = checkpointer(tmp_path)
    assert again.resume() and not (tmp_path / "run.json").exists()
    again.save("model_0000005")
    (tmp_path / "model_0000005.pth").write_bytes(b"")
    assert checkpointer(tmp_path).resume()


def test_overwrite_keeps_files_that_are_read(tmp_path):
    begin(tmp_path, 1)
    path = tmp_path / "model_0000001.pth"
    with pytest.raises(UserError, match="would remove .*model_0000001.pth, which this run reads"):
        claim_folder(tmp_path, resume=False, overwrite=True, reads=["", "text", str(path)])
    assert path.exists() and checkpointer(tmp_path).resume()


def test_other_points_are_an_error(tmp_path):
    begin(tmp_path, 1)
    with pytest.raises(UserError, match="the points are p4, p3; in the checkpoint they are p3"):
        checkpointer(tmp_path, points=("p4", "p3")).resume()

    def with_distiller(channels, **parts):
        point = nn.Conv2d(3, channels, 1)
        point.name = "p3"
        return Checkpointer(nn.Linear(3, 2), str(tmp_path), distillers=nn.ModuleList([point]), **parts)

    with_distiller(4).save("model_0000003")
    (tmp_path / "run.json").unlink()
    with pytest.raises(UserError, match=r"distillers .* at p3: 0.weight is \(4, 3, 1, 1\) in the checkpoint, \(5, 3"):
        with_distiller(5).resume()
    with pytest.raises(UserError, match="has no 'trainer'; as weights alone"):
        with_distiller(4, trainer=nn.Linear(1, 1)).resume()


def test_config_settings_that_differ_are_logged(tmp_path, caplog):
    claim_folder(tmp_path, resume=False)
    checkpointer(tmp_path, length=12, batch=4).save("model_0000001")
    with caplog.at_level("WARNING"):
        assert checkpointer(tmp_path, length=20, batch=4).resume()
    assert "length is 20, in the checkpoint 12; this run uses 20" in caplog.text and "batch" not in caplog.text


def test_checkpoint_settings_that_differ_are_logged(tmp_path, caplog):
    def trainer(lr, momentum):
        net = nn.Linear(3, 2)
        return Trainer(net, [], torch.optim.SGD(net.parameters(), lr=lr, momentum=momentum))

    former = trainer(0.1, 0.9)
    for group in former.optimizer.param_groups:  # as a schedule leaves it
        group["initial_lr"], group["lr"] = group["lr"], 0.003
    former.iter = 5
    with caplog.at_level("WARNING"):
        trainer(0.1, 0.9).load_state_dict(former.state_dict())
    assert not caplog.records
    again = trainer(0.2, 0.5)
    with caplog.at_level("WARNING"):
        again.load_state_dict(former.state_dict())
    assert "lr 0.1 (config: 0.2), momentum 0.9 (config: 0.5)" in caplog.text
    assert again.optimizer.param_groups[0]["momentum"] == 0.9
    assert settings_that_differ([{"betas": (0.9, 0.99)}], [{"betas": [0.9, 0.99]}]) == []
