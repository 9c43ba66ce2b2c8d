"""A bare backbone's file in a detector: the features are those of the library that it comes from."""

import pytest
import torch
import torchvision
from detectors import RETINANET
from detectron2.config import LazyCall as L
from detectron2.config import instantiate
from torch import nn

from diffkd_d2.checkpoint.checkpointer import Checkpointer
from diffkd_d2.checkpoint.conversion import mobilenet_v2_name, resnet_name
from diffkd_d2.engine.config import load_config
from diffkd_d2.errors import UserError
from diffkd_d2.modeling.yaml_model import yaml_model

timm = pytest.importorskip("timm")
from diffkd_d2.modeling.timm_backbone import TimmBackbone  # noqa: E402

PART = "backbone.bottom_up"
STAGES = ["res3", "res4", "res5"]


def detector_on_timm(name: str) -> nn.Module:
    node = load_config("configs/shapes/alone_retinanet_r18.py", []).model.student
    node.backbone.bottom_up = L(TimmBackbone)(name=name, out_features=STAGES)
    return instantiate(node).eval()


def with_statistics(network: nn.Module) -> nn.Module:
    """Draw running statistics, which are alike in a new network, so that a swap of two shows."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.8, 1.2)
    return network.eval()


def stages_of_resnet(network: nn.Module, x: torch.Tensor) -> dict[str, torch.Tensor]:
    x = network.maxpool(network.relu(network.bn1(network.conv1(x))))
    found = {}
    for i in range(1, 5):
        x = found[f"res{i + 1}"] = getattr(network, f"layer{i}")(x)
    return found


@pytest.mark.parametrize(("depth", "channels"), [(18, 64), (50, 256)])
def test_torchvisions_resnet_in_detectron2s(depth, channels, tmp_path, caplog):
    network = with_statistics(torchvision.models.get_model(f"resnet{depth}"))
    wrapped = {"module." + name: value for name, value in network.state_dict().items()}
    torch.save({"state_dict": wrapped, "epoch": 3}, tmp_path / "x.pth")
    opts = ["MODEL.RESNETS.DEPTH", depth, "MODEL.RESNETS.STRIDE_IN_1X1", False]
    detector = yaml_model(RETINANET, [*opts, "MODEL.RESNETS.RES2_OUT_CHANNELS", channels]).eval()
    with caplog.at_level("INFO"):
        Checkpointer(detector).load(str(tmp_path / "x.pth"), prefix=PART)
    count = 5 * sum(isinstance(m, nn.BatchNorm2d) for m in network.modules())
    assert f"{count} of {count} tensors of {PART} loaded" in caplog.text and "left out: module.fc.weight" in caplog.text
    x = torch.randn(1, 3, 64, 96)
    expected = stages_of_resnet(network, x)
    with torch.no_grad():
        for stage, feature in detector.backbone.bottom_up(x).items():
            torch.testing.assert_close(feature, expected[stage], atol=1e-4, rtol=1e-4)


def test_torchvisions_mobilenet_in_timms(real_data, caplog):
    path = real_data / "mobilenet_v2-b0353104.pth"
    network = torchvision.models.mobilenet_v2()
    network.load_state_dict(torch.load(path, weights_only=True))
    detector = detector_on_timm("mobilenetv2_100")
    with caplog.at_level("INFO"):
        Checkpointer(detector).load(str(path), prefix=PART)
    assert f"255 of 255 tensors of {PART} loaded" in caplog.text
    x = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        features = detector.backbone.bottom_up(x)
        for last, stage in ((6, "res3"), (13, "res4"), (17, "res5")):
            expected = network.eval().features[: last + 1](x)
            torch.testing.assert_close(features[stage], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet18", "convnext_atto", "regnety_002", "mobilenetv3_small_050"])
def test_timms_own_files(name, tmp_path):
    network = with_statistics(timm.create_model(name))
    torch.save(network.state_dict(), tmp_path / "x.pth")
    detector = detector_on_timm(name)
    checkpointer = Checkpointer(detector)
    checkpointer.load(str(tmp_path / "x.pth"), prefix=PART)
    own = [n for n in detector.backbone.bottom_up.state_dict() if not n.endswith("num_batches_tracked")]
    assert len(checkpointer.loaded) == len(own)
    x = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        expected = detector.backbone.bottom_up.model(x)[-1]
        fresh = timm.create_model(name, features_only=True).eval()
        names = {n.replace("_", "."): v for n, v in network.state_dict().items()}
        fresh.load_state_dict({n: names[n.replace("_", ".")] for n in fresh.state_dict()})
        torch.testing.assert_close(fresh(x)[-1], expected)


def test_all_names_of_the_networks_are_known():
    mobilenet = torchvision.models.mobilenet_v2().state_dict()
    assert {mobilenet_v2_name(n) for n in mobilenet} == set(timm.create_model("mobilenetv2_100").state_dict())
    assert resnet_name("layer1.0.downsample.1.running_var") == "res2.0.shortcut.norm.running_var"
    assert resnet_name("bn1.weight") == "stem.conv1.norm.weight"


def test_wrong_prefix_is_an_error(tmp_path):
    torch.save(torchvision.models.resnet18().state_dict(), tmp_path / "x.pth")
    detector = detector_on_timm("mobilenetv2_100")
    with pytest.raises(UserError, match="the model has no 'backbone.bottom'; the nearest names: backbone.bottom_up"):
        Checkpointer(detector).load(str(tmp_path / "x.pth"), prefix="backbone.bottom")
    with pytest.raises(UserError, match=f"none of 255 tensors of {PART} is in .*a bare ResNet"):
        Checkpointer(detector).load(str(tmp_path / "x.pth"), prefix=PART)
    with pytest.raises(UserError, match="train.init_prefix says which part"):
        Checkpointer(detector).load(str(tmp_path / "x.pth"))
