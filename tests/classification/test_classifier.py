"""The classifier against the bare networks of torchvision and timm."""

import copy
import tarfile

import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
from PIL import Image
from torch import nn

from diffkd_d2.checkpoint import published as pretrained
from diffkd_d2.checkpoint.checkpointer import Checkpointer
from diffkd_d2.classification.cifar_networks import CIFAR_NETWORKS
from diffkd_d2.classification.classifier import Classifier
from diffkd_d2.distillers import KD, DiffKD
from diffkd_d2.errors import UserError
from diffkd_d2.evaluation.top_k import TopKEvaluator
from diffkd_d2.meta_arch.capture import capture
from diffkd_d2.meta_arch.distill_point import DistillPoint
from diffkd_d2.meta_arch.distilled_model import DistilledModel
from diffkd_d2.modeling.teacher import load_teacher

BARE = {
    "torchvision/resnet18": lambda: torchvision.models.resnet18(num_classes=7),
    "timm/mobilenetv1_100": lambda: timm.create_model("mobilenetv1_100", num_classes=7),
}


def batch(n=3, size=64, classes=7):
    return {"image": torch.randint(256, (n, 3, size, size), dtype=torch.uint8), "label": torch.randint(classes, (n,))}


@pytest.mark.parametrize("name", BARE)
def test_logits_and_checkpoint_equal_the_bare_network(name, tmp_path):
    ours, bare = Classifier(name, num_classes=7).eval(), BARE[name]().eval()
    Checkpointer(ours, str(tmp_path)).save("model_final")
    bare.load_state_dict(torch.load(tmp_path / "model_final.pth", weights_only=True)["model"], strict=True)
    inputs = batch()
    with torch.no_grad():
        expected = bare((inputs["image"] - ours.pixel_mean) / ours.pixel_std)
        assert torch.equal(ours(inputs), expected)
        listed = ours([{"image": image} for image in inputs["image"]])
    assert torch.equal(torch.stack([x["scores"] for x in listed]), expected)


def test_teacher_from_a_bare_checkpoint(tmp_path):
    bare = BARE["torchvision/resnet18"]()
    torch.save(bare.state_dict(), tmp_path / "bare.pth")
    teacher = load_teacher(Classifier("torchvision/resnet18", num_classes=7), str(tmp_path / "bare.pth"))
    assert torch.equal(teacher.network.fc.weight, bare.fc.weight) and not teacher.network.fc.weight.requires_grad
    for model, message in (
        (Classifier("torchvision/resnet18", num_classes=9), r"wrongly shaped: fc.weight \(7, 512\)"),
        (Classifier("torchvision/resnet34", num_classes=7), "missing: layer1.2.conv1.weight"),
    ):
        with pytest.raises(UserError, match=message):
            load_teacher(model, str(tmp_path / "bare.pth"))
    with pytest.raises(UserError, match="no weights"):
        load_teacher(Classifier("torchvision/resnet18"), "")


def test_published_weights_are_fetched_once(tmp_path, monkeypatch):
    calls = []

    def publish(name, weights):
        calls.append((name, weights))
        return torchvision.models.resnet18(num_classes=7)

    monkeypatch.setattr(pretrained, "get_cache_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torchvision.models, "get_model", publish)
    network = BARE["torchvision/resnet18"]
    teachers = [load_teacher(Classifier(network()), "torchvision://resnet18/IMAGENET1K_V1") for _ in range(2)]
    assert calls == [("resnet18", "IMAGENET1K_V1")] and (tmp_path / "torchvision/resnet18.IMAGENET1K_V1.pth").is_file()
    assert all(torch.equal(a, b) for a, b in zip(*(t.parameters() for t in teachers), strict=True))


def test_weights_that_cannot_be_fetched_are_one_line(monkeypatch, tmp_path):
    def offline(*_, **__):
        raise OSError("no network\nsecond line")

    monkeypatch.setattr(pretrained, "get_cache_dir", lambda: str(tmp_path))
    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(UserError, match=r"^cannot get the weights timm://resnet50.a1_in1k: no network$"):
        load_teacher(Classifier(nn.Identity()), "timm://resnet50.a1_in1k")


@pytest.mark.parametrize(
    ("name", "feature", "options"),
    [
        ("timm/vit_tiny_patch16_224", "norm", dict(img_size=(64, 128))),
        ("timm/swin_tiny_patch4_window7_224", "norm", dict(img_size=(64, 128), window_size=2, depths=(1, 1, 1, 1))),
        ("torchvision/vit_b_16", "encoder.ln", dict(image_size=64)),
    ],
)
def test_tokens_are_laid_out_on_their_own_grid(name, feature, options):
    model = Classifier(name, num_classes=7, feature=feature, **options).eval()
    height, width = (64, 64) if "torchvision" in name else (64, 128)
    with capture(model, ["feature_map", f"network.{feature}"]) as seen:
        model({"image": torch.zeros(2, 3, height, width)})
    tokens, found = seen[f"network.{feature}"], seen["feature_map"]
    stride = 32 if "swin" in name else 16
    assert found.shape[2:] == (height // stride, width // stride)
    column = 1
    expected = tokens[:, 1, column] if tokens.dim() == 4 else tokens[:, 1 + found.shape[3] + column]  # one class token
    assert torch.equal(found[:, :, 1, column], expected)


def test_labels_hard_smoothed_and_soft():
    model = Classifier("torchvision/resnet18", num_classes=7, label_smoothing=0.1, loss_weight=0.5).eval()
    inputs = batch()
    scores = model(inputs).detach()
    model.network.eval()
    model.training = True
    smooth = F.cross_entropy(scores, inputs["label"], label_smoothing=0.1)
    torch.testing.assert_close(model(inputs)["loss_cls"], 0.5 * smooth)
    soft = torch.rand(3, 7).softmax(1)
    by_hand = -(soft * scores.log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(model({**inputs, "label": soft})["loss_cls"], 0.5 * by_hand)
    listed = [{"image": i, "label": int(k)} for i, k in zip(inputs["image"], inputs["label"], strict=True)]
    torch.testing.assert_close(model(listed)["loss_cls"], 0.5 * smooth)
    with pytest.raises(UserError, match="needs a 'label'"):
        model({"image": inputs["image"]})
    with pytest.raises(UserError, match="one size"):
        model([{"image": torch.zeros(3, 8, 8)}, {"image": torch.zeros(3, 8, 9)}])


def test_a_copy_sees_its_own_features():
    model = Classifier("cifar/resnet20", feature="layer3").eval()
    average = copy.deepcopy(model)
    seen = []
    for who in (model, average):
        who.feature_map.register_forward_hook(lambda m, i, o, who=who: seen.append(who))
    average({"image": torch.zeros(1, 3, 32, 32)})
    assert seen == [average]


def test_distillation_of_collated_batches():
    teacher = Classifier("cifar/wrn_16_2", feature="relu")
    student = Classifier("cifar/resnet20", feature="layer3")
    points = [
        DistillPoint("feature_map", "feature_map", DiffKD(64, 128, latent_channels=32)),
        DistillPoint("logits", "logits", DiffKD(100, 100, logits=True)),
        DistillPoint("logits", "logits", KD(), name="kd"),
    ]
    model = DistilledModel(student, teacher, points).train()
    losses = model(batch(4, 32, 100))
    assert {"loss_cls", "loss_kd_feature_map", "loss_ae_feature_map", "loss_kd_logits", "loss_kd_kd"} <= set(losses)
    sum(losses.values()).backward()
    for name, p in student.named_parameters():
        assert p.grad is not None and torch.isfinite(p.grad).all(), name
    assert not teacher.training and all(p.grad is None for p in teacher.parameters())


def test_maps_of_different_size_are_an_error():
    teacher = Classifier("cifar/resnet20", feature="layer2")
    model = DistilledModel(
        Classifier("cifar/resnet20", feature="layer3"),
        teacher,
        [DistillPoint("feature_map", "feature_map", DiffKD(64, 32))],
    )
    with pytest.raises(UserError, match=r"point 'feature_map': student \(2, 64, 8, 8\) and teacher \(2, 32, 16, 16\)"):
        model(batch(2, 32, 100))


@pytest.mark.parametrize(
    ("name", "count"), [("resnet20", 278324), ("resnet56", 861620), ("wrn_40_1", 569780), ("wrn_40_2", 2255156)]
)
def test_cifar_networks_have_published_sizes(name, count):
    assert sum(p.numel() for p in CIFAR_NETWORKS[name]().parameters()) == count


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("resnet18",), "expected torchvision/<name>"),
        (("timm/resnet81",), "resnet18"),
        (("torchvision/resnet18", 7, "layer9"), "no module 'layer9'.*layer"),
    ],
)
def test_wrong_names(arguments, message):
    with pytest.raises(UserError, match=message):
        Classifier(*arguments)
    with pytest.raises(UserError, match="drop_pth"):
        Classifier("torchvision/resnet18", drop_pth=0.1)


def test_channels_last_changes_the_layout_alone():
    plain = Classifier("torchvision/resnet18", num_classes=7).eval()
    other = Classifier("torchvision/resnet18", num_classes=7, channels_last=True).eval()
    other.load_state_dict(plain.state_dict())
    inputs = batch()
    assert other.network.conv1.weight.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(plain(inputs), other(inputs), rtol=1e-4, atol=1e-4)


def test_torchvision_weights_on_real_photographs(real_data):
    """Its MobileNetV2 on pictures of red pandas (ImageNet's class 387), enlarged from 64 px."""
    path = real_data / "mobilenet_v2-b0353104.pth"
    if not path.is_file():
        pytest.skip("no published weights: ../shared/data/mobilenet_v2-b0353104.pth is not there")
    teacher = load_teacher(Classifier("torchvision/mobilenet_v2", feature="features.18"), str(path))
    with tarfile.open(real_data / "tiny_imagenet20.tar") as tar:
        names = [n for n in tar.getnames() if "val/n02509815" in n and n.endswith("JPEG")][:16]
        photos = [Image.open(tar.extractfile(n)).convert("RGB").resize((224, 224), Image.BICUBIC) for n in names]
    images = torch.stack([torchvision.transforms.functional.pil_to_tensor(x) for x in photos])
    evaluator = TopKEvaluator()
    inputs = {"image": images, "label": torch.full((16,), 387)}
    with torch.no_grad():
        evaluator.process(inputs, teacher(inputs))
    assert evaluator.evaluate()["cls"]["top5"] > 60
