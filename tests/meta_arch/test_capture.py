"""Capture outputs of named modules; say which cannot be captured, and why."""

import pytest
import torch
from nets import Net, images
from torch import nn

from diffkd_d2.errors import UserError
from diffkd_d2.meta_arch.capture import capture


def test_capture_says_which_module_did_not_run():
    net = Net(4)
    net.idle = nn.Identity()
    with pytest.raises(UserError, match="idle"), capture(net, ["idle"]):
        net(images((16, 16)))


class InPlace(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 1)

    def forward(self, x):
        return self.conv(x).relu_()


def test_capture_reports_in_place_changes():
    net = nn.Sequential(InPlace(), nn.Conv2d(2, 2, 1))
    with pytest.raises(UserError, match=r"'0.conv'.* changed in place later"), capture(net, ["0.conv"]):
        net(torch.randn(1, 3, 4, 4))
    with capture(net, ["0"]) as outputs:
        net(torch.randn(1, 3, 4, 4))
    assert outputs["0"].min() >= 0


def test_outputs_changed_in_place_are_found_in_the_trial_and_then_copied():
    net, clones = nn.Sequential(InPlace(), nn.Conv2d(2, 2, 1)), set()
    with capture(net, ["0.conv", "1"], clones=clones, explore=True):
        net(torch.randn(1, 3, 4, 4))
    assert clones == {"0.conv"}
    x = torch.randn(1, 3, 4, 4)
    with capture(net, ["0.conv"], clones=clones) as outputs:
        net(x)
    assert torch.equal(outputs["0.conv"], net[0].conv(x)) and outputs["0.conv"].min() < 0
    outputs["0.conv"].sum().backward()
    assert net[0].conv.weight.grad is not None


class OtherMethod(nn.Module):
    def __init__(self):
        super().__init__()
        self.decoder = nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU())
        self.decoder.forward_features = lambda x: self.decoder[1](self.decoder[0](x))
        self.second_name = self.decoder[0]

    def forward(self, x):
        return self.decoder.forward_features(x)


def test_a_module_whose_forward_is_not_called_names_modules_that_can_be_captured():
    net, message = OtherMethod(), r"'decoder'.* another method than forward.* can: decoder.0, decoder.1"
    with pytest.raises(UserError, match=message), capture(net, ["decoder"], explore=True):
        net(torch.randn(1, 3, 4, 4))


def test_shared_module_has_several_names():
    net = OtherMethod()
    assert "second_name" not in dict(net.named_modules())
    with capture(net, ["second_name"]) as outputs:
        net(torch.randn(1, 3, 4, 4))
    assert outputs["second_name"].shape == (1, 2, 4, 4)
