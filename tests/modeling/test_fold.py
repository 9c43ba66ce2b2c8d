"""The teacher's folded copy: the same features, an untouched original, and when nothing is folded."""

import copy
import logging

import pytest
import torch
from detectron2.layers import Conv2d, FrozenBatchNorm2d
from detectron2.modeling.backbone import FPN, BasicStem, ResNet
from detectron2.modeling.backbone.resnet import BottleneckBlock
from torch import nn

from diffkd_d2.modeling.fold import fold_frozen_norms


def backbone(norm):
    stem = BasicStem(3, 16, norm=norm)
    stages = [
        ResNet.make_stage(
            BottleneckBlock,
            num_blocks=2,
            stride_per_block=[stride, 1],
            in_channels=inputs,
            out_channels=outputs,
            bottleneck_channels=outputs // 4,
            norm=norm,
        )
        for stride, inputs, outputs in ((1, 16, 32), (2, 32, 64))
    ]
    return FPN(ResNet(stem, stages, out_features=["res2", "res3"]), ["res2", "res3"], 16, norm=norm)


def frozen(model):
    """Give the norms statistics and parameters that a mistake would show."""
    for m in model.modules():
        if isinstance(m, FrozenBatchNorm2d | nn.BatchNorm2d):
            nn.init.normal_(m.running_mean, 0.0, 0.5)
            nn.init.uniform_(m.running_var, 0.5, 2.0)
            for values, mean in ((m.weight, 1.0), (m.bias, 0.0)):
                if values is not None:
                    values.data.normal_(mean, 0.3)
    return model.requires_grad_(False).eval()


def count(model, kind):
    return sum(isinstance(m, kind) for m in model.modules())


@pytest.mark.parametrize("norm", ["FrozenBN", "BN"])
def test_folded_copy_has_the_same_features(norm):
    teacher = frozen(backbone(norm))
    before = copy.deepcopy(teacher.state_dict())
    folded = fold_frozen_norms(teacher, ["bottom_up.res2.0.conv1", ""])
    assert folded is not teacher and not folded.training
    assert count(folded, FrozenBatchNorm2d | nn.BatchNorm2d) == 0 < count(teacher, FrozenBatchNorm2d | nn.BatchNorm2d)
    image = torch.randn(2, 3, 64, 96)
    expected, found = teacher(image), folded(image)
    for level, value in expected.items():
        assert (found[level] - value).abs().max() < 4e-6 * value.abs().max()
        assert found[level].is_contiguous(memory_format=torch.channels_last)
    assert list(teacher.state_dict()) == list(before)
    assert all(torch.equal(v, before[k]) and v.stride() == before[k].stride() for k, v in teacher.state_dict().items())
    assert not any(p.requires_grad for p in folded.parameters())


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("affine", [False, True])
def test_bias_and_norm_without_parameters(bias, affine):
    norm = nn.BatchNorm2d(5, affine=affine)
    teacher = frozen(nn.Sequential(Conv2d(3, 5, 3, bias=bias, norm=norm, activation=nn.functional.relu)))
    x = torch.randn(2, 3, 6, 7)
    torch.testing.assert_close(fold_frozen_norms(teacher, ["0"])(x), teacher(x), rtol=1e-5, atol=1e-6)


def test_norms_without_fixed_statistics_stay():
    norms = [nn.GroupNorm(1, 4), nn.BatchNorm2d(4, track_running_stats=False)]
    teacher = nn.Sequential(*(Conv2d(4, 4, 1, norm=norm) for norm in norms)).requires_grad_(False).eval()
    folded = fold_frozen_norms(teacher, ["1"])
    assert [type(conv.norm) for conv in folded] == [nn.GroupNorm, nn.BatchNorm2d]
    x = torch.randn(2, 4, 5, 6)
    torch.testing.assert_close(folded(x), teacher(x))


def test_captured_norm_disables_folding(caplog):
    teacher = frozen(backbone("FrozenBN"))
    with caplog.at_level(logging.INFO, logger="diffkd_d2"):
        assert fold_frozen_norms(teacher, ["", "bottom_up.res3.0.conv2.norm"]) is teacher
    assert "folding would remove captured modules: bottom_up.res3.0.conv2.norm" in caplog.text
