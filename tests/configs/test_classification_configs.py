"""The classifiers' configs: what their points capture, built without memory, and what their recipes say."""

import logging
from types import SimpleNamespace

import pytest
import torch
from detectron2.config import instantiate
from leaves import LEAVES, is_classifier, load

from diffkd_d2.engine.class_lists import check_class_lists
from diffkd_d2.engine.optimizer import scale_learning_rate
from diffkd_d2.engine.report import log_recipe
from diffkd_d2.errors import UserError
from diffkd_d2.meta_arch.capture import capture
from diffkd_d2.meta_arch.distilled_model import DistilledModel

CLASSIFIERS = [p for p in LEAVES if p.parent.name in ("imagenet", "cifar", "tiny_imagenet", "shapes_cls")]


@pytest.mark.slow
@pytest.mark.parametrize("path", CLASSIFIERS, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_the_points_of_a_classifier_meet(path):
    cfg = load(path)
    assert is_classifier(cfg)
    points = [instantiate(p) for p in cfg.model.points]
    size = {"imagenet": 224, "cifar": 32}.get(path.parent.name, 64)
    shapes = {}
    for who, node in (("student", cfg.model.student), ("teacher", cfg.model.get("teacher"))):
        if node is None:
            assert not points
            continue
        with torch.device("meta"):
            model = instantiate(node if who == "student" else node.model).eval()
            with capture(model, {getattr(p, who) for p in points} | {"logits", "feature_map"}) as outputs:
                model({"image": torch.zeros(2, 3, size, size)})
        shapes[who] = {name: tuple(x.shape) for name, x in outputs.items()}
        for point in points:
            channels = getattr(point.distiller, f"{who}_channels", model.num_classes)
            assert shapes[who][getattr(point, who)][1] == channels
    for point in points:
        assert shapes["student"][point.student][2:] == shapes["teacher"][point.teacher][2:]


EXPECTED = {
    "imagenet/diffkd_resnet18_from_resnet34": [
        "0.1 = 0.1 x 256 / 256",
        "256 = 256 x 1",
        "100.0 epochs of 1281167",
        "SGD",
        "EMA off",
    ],
    "imagenet/diffkd_efficientnet_b0_from_resnet50": [
        "0.048",
        "450.0 epochs",
        "RMSpropTF",
        "RandAugment",
        "mode=pixel",
        "EMA 0.9999",
    ]
    + ["label smoothing 0.1", "dropout 0.2"],
    "imagenet/diffkd_resnet50_from_swin_l": [
        "0.001",
        "300.0 epochs",
        "AdamW",
        "Mixup(mixup_alpha=0.8",
        "drop path 0.2",
        "most 5",
    ],
    "cifar/diffkd_wrn40_1_from_wrn40_2": ["0.05", "240", "RandomCrop", "(DiffKD, weight 1)"],
}


@pytest.mark.parametrize("name", EXPECTED)
def test_a_recipe_is_said_in_one_block(name, caplog):
    cfg = load(next(p for p in LEAVES if f"{p.parent.name}/{p.stem}" == name))
    cfg.model.pop("teacher")
    points = torch.nn.ModuleList([instantiate(p) for p in cfg.model.points])
    model = DistilledModel(instantiate(cfg.model.student))
    model.points = points
    cfg.dataloader.train.dataset.source = FakeSource("imagenet" in name)
    rate = scale_learning_rate(cfg)
    with caplog.at_level(logging.INFO):
        log_recipe(cfg, rate, instantiate(cfg.dataloader.train), model, instantiate(cfg.lr_multiplier))
    text = caplog.text
    assert text.count("Recipe:") == 1 and all(word in text for word in EXPECTED[name]), text


class FakeSource:
    """As long as the dataset, and empty."""

    def __init__(self, imagenet):
        self.length, count = (1281167, 1000) if imagenet else (50000, 100)
        self.classes = [f"class {i}" for i in range(count)]

    def __len__(self):
        return self.length


def test_learning_rate_scales_only_if_asked():
    cfg = load(next(p for p in LEAVES if p.stem == "diffkd_resnet18_from_resnet34"))
    cfg.dataloader.train.total_batch_size, cfg.train.accumulate = 128, 4
    assert scale_learning_rate(cfg) == "0.2 = 0.1 x 512 / 256 (train.lr_reference_batch)"
    assert cfg.optimizer.lr == pytest.approx(0.2)
    cfg.train.lr_reference_batch = None
    assert scale_learning_rate(cfg) == "0.2, not scaled to the batch"
    cfg.dataloader.train.pop("total_batch_size")  # a loader of one's own need not say it
    assert scale_learning_rate(cfg) == "0.2, not scaled to the batch"
    cfg.train.lr_reference_batch = 256
    with pytest.raises(UserError, match="needs optimizer.lr and"):
        scale_learning_rate(cfg)


@pytest.mark.parametrize(
    "stem",
    [
        "diffkd_resnet18_from_resnet34",
        "diffkd_efficientnet_b0_from_resnet50",
        "diffkd_resnet50_from_swin_l",
        "teacher_resnet56",
    ],
)
def test_a_schedule_goes_from_its_start_to_the_very_end(stem):
    schedule = instantiate(load(next(p for p in LEAVES if p.stem == stem)).lr_multiplier)
    end = {
        "diffkd_resnet18_from_resnet34": 1e-3,
        "diffkd_efficientnet_b0_from_resnet50": 0.97**187,
        "diffkd_resnet50_from_swin_l": 5e-3,
        "teacher_resnet56": 1e-3,
    }
    start = {
        "diffkd_resnet18_from_resnet34": 1,
        "diffkd_efficientnet_b0_from_resnet50": 1e-6 / 0.048,
        "diffkd_resnet50_from_swin_l": 5e-4,
        "teacher_resnet56": 1,
    }
    assert schedule(0.0) == pytest.approx(start[stem], rel=1e-3)
    # Detectron2 asks once more after the last iteration.
    assert schedule(1.0) == pytest.approx(end[stem], rel=1e-3)


def test_other_classes_than_the_data_has_are_an_error():
    loader = type("Loader", (), {"dataset": FakeSource(imagenet=False)})
    with pytest.raises(UserError, match="the model has 20 classes, the data 100"):
        check_class_lists({"the data": loader}, SimpleNamespace(num_classes=20))
    check_class_lists({"the data": loader}, SimpleNamespace(num_classes=100))
