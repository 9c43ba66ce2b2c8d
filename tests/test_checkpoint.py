"""Teachers and checkpoints: strict, and no code from a file."""

import os
import pickle

import pytest
import torch
from torch import nn

from diffkd_d2.checkpoint import Checkpointer, read_checkpoint
from diffkd_d2.errors import UserError
from diffkd_d2.teacher import load_teacher


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
    with pytest.raises(UserError, match="missing"):
        Checkpointer(nn.Sequential(nn.Linear(3, 2)), str(tmp_path)).resume()
