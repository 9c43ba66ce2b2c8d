"""Teachers and checkpoints: strict, and no code from a file."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from diffkd_d2.checkpoint.checkpointer import Checkpointer
from diffkd_d2.checkpoint.files import read_checkpoint
from diffkd_d2.errors import UserError
from diffkd_d2.modeling.teacher import load_teacher

REPO = Path(__file__).resolve().parents[2]


class Bomb:
    def __reduce__(self):
        return os.mkdir, (os.environ["BOMB"],)


@pytest.mark.parametrize("suffix", [".pkl", ".pth"])
def test_reading_runs_no_code(tmp_path, monkeypatch, suffix):
    monkeypatch.setenv("BOMB", str(tmp_path / "ran"))
    path = tmp_path / f"evil{suffix}"
    if suffix == ".pkl":
        path.write_bytes(pickle.dumps({"model": Bomb()}))
    else:
        torch.save({"model": Bomb()}, path)
    with pytest.raises(UserError, match="cannot read checkpoint"):
        read_checkpoint(path)
    assert not (tmp_path / "ran").exists()


def test_the_zoos_pickle_format_is_read(tmp_path):
    net = nn.Linear(3, 2)
    weights = {k: v.detach().numpy() + 1 for k, v in net.state_dict().items()}
    path = tmp_path / "zoo.pkl"
    path.write_bytes(pickle.dumps({"model": weights, "__author__": "someone"}, protocol=2))
    teacher = load_teacher(nn.Linear(3, 2), str(path))
    torch.testing.assert_close(teacher.weight, net.weight + 1, check_stride=False)
    assert not teacher.training and not teacher.weight.requires_grad


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"weight": torch.ones(2, 3)}, "1 missing: bias"),
        ({"weight": torch.ones(2, 3), "bias": torch.ones(2), "more": torch.ones(1)}, "1 unexpected: more"),
        ({"weight": torch.ones(5, 3), "bias": torch.ones(2)}, r"1 wrongly shaped: weight \(5, 3\) for \(2, 3\)"),
        ({"weight": torch.full((2, 3), float("nan")), "bias": torch.ones(2)}, "not finite"),
    ],
)
def test_a_teacher_that_does_not_fit_is_an_error(tmp_path, state, message):
    torch.save({"model": state}, tmp_path / "t.pth")
    with pytest.raises(UserError, match=message):
        load_teacher(nn.Linear(3, 2), str(tmp_path / "t.pth"))


def test_a_teacher_without_weights_is_an_error(tmp_path):
    with pytest.raises(UserError, match="no weights"):
        load_teacher(nn.Linear(3, 2), "")
    with pytest.raises(UserError, match="nowhere.pth"):
        load_teacher(nn.Linear(3, 2), str(tmp_path / "nowhere.pth"))
    (tmp_path / "bad.pth").write_bytes(b"not a checkpoint")
    with pytest.raises(UserError, match="cannot read checkpoint"):
        load_teacher(nn.Linear(3, 2), str(tmp_path / "bad.pth"))


def test_resume_wants_every_key(tmp_path):
    Checkpointer(nn.Linear(3, 2), str(tmp_path)).save("model_0000001")
    assert Checkpointer(nn.Linear(3, 2), str(tmp_path)).resume()
    with pytest.raises(UserError, match="1 unexpected: bias"):
        Checkpointer(nn.Linear(3, 2, bias=False), str(tmp_path)).resume()
    with pytest.raises(UserError, match="none of 2 tensors"):
        Checkpointer(nn.Sequential(nn.Linear(3, 2)), str(tmp_path)).resume()


def test_writing_is_atomic(tmp_path, monkeypatch):
    checkpointer = Checkpointer(nn.Linear(3, 2), str(tmp_path))
    checkpointer.save("model_0000001")
    before = (tmp_path / "model_0000001.pth").read_bytes()

    def fill_the_disk(data, file):
        file.write(b"half a checkpoint")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", fill_the_disk)
    for name in ("model_0000001", "model_0000003"):
        with pytest.raises(UserError, match="cannot write checkpoint .*No space left"):
            checkpointer.save(name)
    assert (tmp_path / "model_0000001.pth").read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "last_checkpoint",
        "model_0000001.pth",
        "model_0000001.pth.sha256",
    ]
    assert checkpointer.get_checkpoint_file().endswith("model_0000001.pth")


def test_damaged_checkpoint_falls_back_to_previous(tmp_path, caplog):
    net = nn.Linear(3, 2)
    for i in (1, 3):
        nn.init.constant_(net.weight, i)
        Checkpointer(net, str(tmp_path)).save(f"model_000000{i}")
    newest = tmp_path / "model_0000003.pth"
    newest.write_bytes(newest.read_bytes()[:300])
    fresh = nn.Linear(3, 2)
    assert Checkpointer(fresh, str(tmp_path)).resume()
    assert float(fresh.weight[0, 0].detach()) == 1 and "trying the checkpoint before it" in caplog.text
    (tmp_path / "model_0000001.pth").write_bytes(b"")
    with pytest.raises(UserError, match="no checkpoint in .* can be read"):
        Checkpointer(fresh, str(tmp_path)).resume()


def test_numpy_values_in_a_torch_file_are_data(tmp_path):
    data = {
        "model": {"weight": np.arange(6, dtype="f4").reshape(2, 3), "bias": torch.ones(2)},
        "best": np.float64(0.31),
        "epoch": np.int64(4),
        "pair": (0.9, np.ones(2)),
    }
    for legacy in (False, True):
        torch.save(data, tmp_path / "x.pth", _use_new_zipfile_serialization=not legacy)
        read = read_checkpoint(tmp_path / "x.pth")
        assert read["best"] == 0.31 and type(read["epoch"]) is int and read["epoch"] == 4
        assert type(read["pair"]) is tuple and read["pair"][1].tolist() == [1, 1]
        teacher = load_teacher(nn.Linear(3, 2), str(tmp_path / "x.pth"))
        assert teacher.weight.tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize("value", [np.array(["text"]), np.array([object()]), np.random.RandomState(0)])
def test_other_objects_of_numpy_are_refused_by_name(value, tmp_path):
    torch.save({"model": {"weight": torch.ones(2, 3)}, "more": value}, tmp_path / "x.pth")
    with pytest.raises(UserError, match="it has an array of|it refers to .*, and only tensors, arrays"):
        read_checkpoint(tmp_path / "x.pth")


@pytest.mark.parametrize("scheme", ["timm://", "torchvision://"])
def test_published_weights_are_read_at_every_door(scheme):
    """In a process that has imported nothing of classification, and no timm."""
    program = f"""
import sys
sys.modules["timm"] = None
from torch import nn
from diffkd_d2.checkpoint.checkpointer import Checkpointer
Checkpointer(nn.Linear(1, 1)).load("{scheme}nothing")"""
    done = subprocess.run([sys.executable, "-c", program], cwd=REPO, capture_output=True, text=True, check=False)
    assert f"UserError: cannot get the weights {scheme}nothing: " in done.stderr
