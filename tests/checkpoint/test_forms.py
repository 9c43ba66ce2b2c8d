"""Weights in the forms in which people have them: read, or refused with a line that says what the file is."""

import pickle

import numpy as np
import pytest
import torch
from torch import nn

from diffkd_d2.checkpoint.checkpointer import Checkpointer, require_all_keys
from diffkd_d2.errors import UserError
from diffkd_d2.modeling.teacher import load_teacher


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))


def under(prefix: str, state: dict) -> dict:
    return {prefix + name: value for name, value in state.items()}


FORMS = {
    "bare": lambda s: s,
    "detectron2": lambda s: {"model": s, "iteration": 3, "optimizer": {"lr": 0.1}},
    "state_dict": lambda s: {"state_dict": s, "epoch": 3, "best_acc1": np.float64(71.2)},
    "ddp": lambda s: {"model": under("module.", s)},
    "ema of torchvision": lambda s: {"model_ema": {"n_averaged": torch.tensor(3), **under("module.", s)}},
    "timm's ema": lambda s: {"state_dict_ema": s, "arch": "resnet50"},
    "lightning": lambda s: {
        "state_dict": {**under("model.", s), "criterion.weight": torch.ones(4)},
        "pytorch-lightning_version": "2.1.0",
    },
    "lightning on ddp": lambda s: {"state_dict": under("model.module.", s)},
    "mmdetection": lambda s: {"meta": {"CLASSES": ("a", "b"), "time": "now"}, "state_dict": s, "optimizer": {}},
    "distilled model": lambda s: {"model": {**under("student.", s), "points.0.align.weight": torch.ones(2)}},
    "compiled": lambda s: {"model": under("_orig_mod.", s)},
    "numpy arrays": lambda s: {"model": {k: v.numpy() for k, v in s.items()}},
}


@pytest.mark.parametrize("form", FORMS)
def test_a_form_is_read_whole(form, tmp_path, caplog):
    known = net()
    torch.save(FORMS[form](known.state_dict()), tmp_path / "x.pth")
    with caplog.at_level("INFO"):
        teacher = load_teacher(net(), str(tmp_path / "x.pth"))
    for name, value in known.state_dict().items():
        assert torch.equal(teacher.state_dict()[name], value)
    assert "6 of 6 tensors loaded from" in caplog.text and "6 keys loaded" in caplog.text


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"model": s}, lambda s: {"state_dict": s, "epoch": 3}])
def test_a_pickle_of_arrays_is_read_by_its_names(wrap, tmp_path):
    known = net()
    arrays = {k: v.numpy() for k, v in known.state_dict().items()}
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(wrap(arrays)))
    torch.save(wrap(known.state_dict()), tmp_path / "of_torch.pkl")
    for name in ("x.pkl", "of_torch.pkl"):
        teacher = load_teacher(net(), str(tmp_path / name))
        assert all(torch.equal(teacher.state_dict()[k], v) for k, v in known.state_dict().items())


def test_model_is_preferred_to_its_average(tmp_path, caplog):
    first, second = net(), net()
    torch.save({"model": first.state_dict(), "model_ema": second.state_dict()}, tmp_path / "x.pth")
    with caplog.at_level("INFO"):
        loaded = load_teacher(net(), str(tmp_path / "x.pth"))
    assert torch.equal(loaded[0].weight, first[0].weight)
    assert "under 'model' and ['model_ema']; those under 'model' are read" in caplog.text


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"epoch": 3, "config": "text"}, "no weights that can be found: its keys are epoch, config"),
        ({"model": {}}, "no weights that can be found: its keys are model"),
        ({"state_dict": {"layer1.0.conv1.weight": torch.ones(2)}}, "none of 6 tensors .*a bare ResNet.*'state_dict'.*"),
        (
            {"state_dict": {"bbox_head.w": torch.ones(2)}, "meta": {}},
            "a detector of mmdetection.*names are bbox_head.w",
        ),
        ({"pytorch-lightning_version": "2", "state_dict": {"a": torch.ones(2)}}, "a checkpoint of Lightning"),
    ],
)
def test_unknown_format_is_described(data, message, tmp_path):
    torch.save(data, tmp_path / "x.pth")
    with pytest.raises(UserError, match=message) as error:
        Checkpointer(net()).load(str(tmp_path / "x.pth"))
    assert "\n" not in str(error.value) and "x.pth" in str(error.value)


class Renamed(nn.Linear):
    """A layer that reads the weights of its first version under another name, as Mask2Former's heads do."""

    _version = 2

    def _load_from_state_dict(self, state_dict, prefix, local_metadata, *rest):
        if local_metadata.get("version", 1) < 2:
            state_dict[prefix + "weight"] = state_dict.pop(prefix + "kernel")
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)


@pytest.mark.parametrize("wrap", [lambda m: m, nn.DataParallel, lambda m: nn.ModuleDict({"student": m})])
def test_modules_see_the_version_of_their_weights(wrap, tmp_path):
    model = nn.Sequential(Renamed(3, 2))
    torch.save({"model": wrap(model).state_dict()}, tmp_path / "second.pth")
    first = {"0.kernel": model[0].weight, "0.bias": model[0].bias}
    torch.save({"model": first}, tmp_path / "first.pth")
    for name in ("first", "second"):
        loaded = load_teacher(nn.Sequential(Renamed(3, 2)), str(tmp_path / f"{name}.pth"))
        assert torch.equal(loaded[0].weight, model[0].weight.cpu())  # DataParallel moves it to a GPU


def test_partial_fit_is_counted(tmp_path, caplog):
    state = net().state_dict()
    torch.save({"0.weight": state["0.weight"], "0.bias": torch.ones(7), "more": torch.ones(1)}, tmp_path / "x.pth")
    checkpointer = Checkpointer(net())
    with caplog.at_level("INFO"):
        checkpointer.load(str(tmp_path / "x.pth"))
    assert "1 of 6 tensors loaded" in caplog.text and checkpointer.loaded == ["0.weight"]
    with pytest.raises(UserError, match="4 missing: .*1 unexpected: more; 1 wrongly shaped: 0.bias"):
        require_all_keys(checkpointer.incompatible, "x.pth")


def test_names_that_fit_with_other_shapes_are_told_apart(tmp_path):
    torch.save({"0.weight": torch.ones(7, 7)}, tmp_path / "x.pth")
    with pytest.raises(UserError, match=r"none of 6 tensors fits .*of another shape are 0.weight \(7, 7\) for"):
        Checkpointer(net()).load(str(tmp_path / "x.pth"))


def test_self_filled_frozen_norms_are_not_counted(tmp_path):
    from detectron2.layers import FrozenBatchNorm2d

    torch.save({"other": torch.ones(1)}, tmp_path / "x.pth")
    with pytest.raises(UserError, match="none of 2 tensors"):
        Checkpointer(FrozenBatchNorm2d(4)).load(str(tmp_path / "x.pth"))


def test_heuristics_by_the_query_and_of_pycls(tmp_path, caplog):
    inner = net()
    state = inner.state_dict()
    model = nn.Module()
    model.backbone = net()
    torch.save(state, tmp_path / "x.pth")
    torch.save({"model_state": state, "epoch": 3}, tmp_path / "x.pyth")
    for path in ("x.pth?matching_heuristics=True", "x.pyth"):
        nn.init.zeros_(model.backbone[0].weight)
        caplog.clear()
        with caplog.at_level("INFO"):
            Checkpointer(model).load(str(tmp_path / path))
        assert torch.equal(model.backbone[0].weight, inner[0].weight)
        assert "6 of 6 tensors loaded" in caplog.text
    with pytest.raises(UserError, match="none of 6 tensors"):
        Checkpointer(model).load(str(tmp_path / "x.pth?matching_heuristics=False"))
    with pytest.raises(UserError, match="matching_heuristics is 'yes', expected True or False"):
        Checkpointer(model).load(str(tmp_path / "x.pth?matching_heuristics=yes"))
    torch.save(state, tmp_path / "bare.pyth")
    with pytest.raises(UserError, match="no weights under 'model_state'.*its keys are 0.weight"):
        Checkpointer(model).load(str(tmp_path / "bare.pyth"))


def test_caffe2_files_are_counted_too(tmp_path, caplog):
    weights = {"0_w": np.ones((2, 3), "f4"), "0_b": np.ones(2, "f4"), "0_w_momentum": np.ones((2, 3), "f4")}
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"blobs": weights}, protocol=2))
    model = nn.Sequential(nn.Linear(3, 2))
    with caplog.at_level("INFO"):
        Checkpointer(model).load(str(tmp_path / "x.pkl"))
    assert float(model[0].weight.detach().sum()) == 6 and "2 of 2 tensors loaded" in caplog.text


@pytest.mark.parametrize("text", ["1", "1."])
def test_expected_missing_string_is_one_prefix(text, tmp_path, caplog):
    torch.save({k: v for k, v in net().state_dict().items() if k.startswith("0.")}, tmp_path / "x.pth")
    with caplog.at_level("INFO"):
        load_teacher(net(), str(tmp_path / "x.pth"), expected_missing=text)
    assert "2 keys loaded" in caplog.text and "4 tensors of the teacher stay random" in caplog.text
    with pytest.raises(UserError, match="4 missing: 1.weight"):
        load_teacher(net(), str(tmp_path / "x.pth"), expected_missing="01")  # as letters, both would fit
    for wrong in ("", [""], [1]):
        if wrong != "":
            with pytest.raises(UserError, match="expected the beginnings of names"):
                load_teacher(net(), str(tmp_path / "x.pth"), expected_missing=wrong)
