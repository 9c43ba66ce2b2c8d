"""timm's models as Detectron2 backbones."""

from pathlib import Path

import pytest
import torch
from detectors import FPN, RETINANET, build, level, train_two_steps
from detectron2.config import LazyCall as L
from detectron2.config import instantiate

from diffkd_d2.engine.config import load_config
from diffkd_d2.errors import UserError

timm = pytest.importorskip("timm")
from diffkd_d2.modeling.timm_backbone import TimmBackbone, timm_pixel_stats  # noqa: E402

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "shapes" / "alone_retinanet_r18.py"
STAGES = ["res2", "res3", "res4", "res5"]
NAMES = ["resnet18", "mobilenetv2_100", "mobilenetv3_small_050", "regnety_002", "convnext_atto"]
SWIN = ("swin_tiny_patch4_window7_224", dict(strict_img_size=False, embed_dim=24, depths=(1, 1, 1, 1)))


@pytest.mark.parametrize(("name", "options"), [*((name, {}) for name in NAMES), SWIN], ids=lambda x: str(x)[:20])
def test_declared_strides_and_channels(name, options):
    backbone = TimmBackbone(name, STAGES, **options).eval()
    outputs, shapes = backbone(torch.randn(2, 3, 64, 96)), backbone.output_shape()
    assert list(outputs) == STAGES and [shapes[s].stride for s in STAGES] == [4, 8, 16, 32]
    for stage, feature in outputs.items():
        size = (64 // shapes[stage].stride, 96 // shapes[stage].stride)
        assert feature.shape == (2, shapes[stage].channels, *size)


def test_features_are_those_of_the_bare_model():
    torch.manual_seed(1)
    backbone = TimmBackbone("resnet18", ["res3", "res5"]).eval()
    bare = timm.create_model("resnet18").eval()
    bare.load_state_dict(backbone.model.state_dict(), strict=False)
    x = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(backbone(x)["res5"], bare.forward_features(x))


def test_dilation_for_deeplab():
    backbone = TimmBackbone("resnet18", ["res2", "res5"], output_stride=16)
    shapes = backbone.output_shape()
    assert (shapes["res2"].stride, shapes["res5"].stride, shapes["res5"].channels) == (4, 16, 512)
    assert backbone(torch.randn(1, 3, 64, 96))["res5"].shape == (1, 512, 4, 6)


def on_backbone(name, options):
    model = load_config(str(CONFIG), []).model.student
    model.backbone.bottom_up = L(TimmBackbone)(name=name, out_features=STAGES[1:], **options)
    return instantiate(model)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "options"), [*((name, {}) for name in NAMES), SWIN], ids=lambda x: str(x)[:20])
def test_timm_student_of_another_family(name, options):
    train_two_steps(on_backbone(name, options), build(RETINANET), [level(p, 64, FPN) for p in ("p3", "p5")])


def test_a_detector_on_a_timm_backbone_teaches():
    train_two_steps(build(RETINANET), on_backbone(*SWIN), [level(p, FPN, 64) for p in ("p3", "p5")])


def test_batch_norms_may_be_frozen_or_synchronised():
    x = torch.randn(2, 3, 64, 64)
    plain = TimmBackbone("mobilenetv2_100", ["res5"])
    frozen = TimmBackbone("mobilenetv2_100", ["res5"], norm="FrozenBN")
    frozen.load_state_dict(plain.state_dict(), strict=False)
    torch.testing.assert_close(frozen.train()(x)["res5"], plain.eval()(x)["res5"])
    synchronised = TimmBackbone("mobilenetv2_100", ["res5"], norm="SyncBN")
    assert any(isinstance(m, torch.nn.SyncBatchNorm) for m in synchronised.modules())
    with pytest.raises(UserError, match="norm is 'GN', expected one of BN, FrozenBN, SyncBN"):
        TimmBackbone("resnet18", ["res5"], norm="GN")


def test_pixel_statistics_are_timms():
    mean, std = timm_pixel_stats("resnet18")
    assert mean == pytest.approx([123.675, 116.28, 103.53]) and std == pytest.approx([58.395, 57.12, 57.375])


def test_a_wrong_name_or_stage_is_one_line():
    with pytest.raises(UserError, match="no model 'resnet19'; the nearest names: .*resnet18"):
        TimmBackbone("resnet19", STAGES)
    with pytest.raises(UserError, match="gives no feature maps with .*out_stride"):
        TimmBackbone("resnet18", STAGES, out_stride=16)
    with pytest.raises(UserError, match=r"convnext_atto has no stage \['res1'\]"):
        TimmBackbone("convnext_atto", ["res1"])
