"""timm's models as Detectron2 backbones."""

from pathlib import Path

import pytest
import torch
from detectron2.config import LazyCall as L
from detectron2.config import instantiate
from test_models import FPN, RETINANET, build, level, train_two_steps

from diffkd_d2.engine.setup import load_config
from diffkd_d2.errors import UserError

timm = pytest.importorskip("timm")
from diffkd_d2.backbones.timm_backbone import TimmBackbone, timm_pixel_stats  # noqa: E402

CONFIG = Path(__file__).resolve().parent.parent / "configs" / "shapes" / "student_r18.py"
STAGES = ["res2", "res3", "res4", "res5"]
NAMES = ["resnet18", "mobilenetv2_100", "mobilenetv3_small_050", "regnety_002", "convnext_atto"]
SWIN = ("swin_tiny_patch4_window7_224", dict(strict_img_size=False, embed_dim=24, depths=(1, 1, 1, 1)))


@pytest.mark.parametrize(("name", "options"), [*((name, {}) for name in NAMES), SWIN], ids=lambda x: str(x)[:20])
def test_stages_have_the_strides_and_channels_that_they_declare(name, options):
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
    shapes = TimmBackbone("resnet18", ["res2", "res5"], output_stride=16).output_shape()
    assert (shapes["res2"].stride, shapes["res5"].stride, shapes["res5"].channels) == (4, 16, 512)


def test_a_detector_on_a_timm_backbone_learns_from_another_family():
    model = load_config(str(CONFIG), []).model.student
    model.backbone.bottom_up = L(TimmBackbone)(name="mobilenetv2_100", out_features=STAGES[1:])
    points = [level(name, 64, FPN) for name in ("p3", "p5")]
    train_two_steps(instantiate(model), build(RETINANET), points)


def test_pixel_statistics_are_timms():
    mean, std = timm_pixel_stats("resnet18")
    assert mean == pytest.approx([123.675, 116.28, 103.53]) and std == pytest.approx([58.395, 57.12, 57.375])


def test_a_wrong_name_or_stage_is_one_line():
    with pytest.raises(UserError, match="no model 'resnet19'; the nearest names: .*resnet18"):
        TimmBackbone("resnet19", STAGES)
    with pytest.raises(UserError, match=r"convnext_atto has no stage \['res1'\]"):
        TimmBackbone("convnext_atto", ["res1"])
