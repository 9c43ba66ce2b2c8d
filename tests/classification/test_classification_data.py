"""Loaders and evaluator of classification: what is read, what is skipped, what is counted."""

import io
import itertools
import logging
import pickle

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from timm.data import Mixup, create_transform
from torchvision.transforms import v2

from diffkd_d2.classification import loaders
from diffkd_d2.classification.datasets import LabelledImages, cifar, image_folder, shapes_crops
from diffkd_d2.classification.loaders import (
    RepeatedAugmentation,
    build_classification_test_loader,
    build_classification_train_loader,
)
from diffkd_d2.classification.transforms import RandomErase
from diffkd_d2.errors import UserError
from diffkd_d2.evaluation.top_k import TopKEvaluator

TO_TENSOR = torchvision.transforms.PILToTensor()


@pytest.fixture
def folder(tmp_path):
    """Two splits of three classes; each image has the value 10 class + number, so that it can be recognised."""
    for split, count in (("train", 4), ("val", 3)):
        for k, name in enumerate(("ant", "bee", "cat")):
            (tmp_path / split / name).mkdir(parents=True)
            for i in range(count):
                Image.new("RGB", (8, 8), (10 * k + i,) * 3).save(tmp_path / split / name / f"{i}.png")
    return tmp_path


def images(folder, split, train=False):
    return LabelledImages(image_folder(str(folder), split), TO_TENSOR, train)


def damage(path):
    path.write_bytes(path.read_bytes()[:45])


def test_test_loader_yields_each_image_once(folder):
    batches = list(build_classification_test_loader(images(folder, "val"), batch_size=4))
    assert [len(b["label"]) for b in batches] == [4, 4, 1]
    values = torch.cat([b["image"][:, 0, 0, 0] for b in batches])
    labels = torch.cat([b["label"] for b in batches])
    assert values.tolist() == [0, 1, 2, 10, 11, 12, 20, 21, 22] and labels.tolist() == [v // 10 for v in values]


@pytest.mark.parametrize("workers", [0, 2])
def test_damaged_images_are_skipped_counted_and_named(folder, workers, caplog):
    damage(folder / "val/bee/1.png")
    photo = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(256, size=(64, 64, 3), dtype=np.uint8)).save(photo, "JPEG")
    (folder / "val/cat/0.png").write_bytes(photo.getvalue()[: photo.tell() // 2])
    loader = build_classification_test_loader(images(folder, "val"), 2, workers, max_corrupt=0.25)
    with caplog.at_level(logging.WARNING):
        seen = torch.cat([b["image"][:, 0, 0, 0] for b in loader]).tolist()
    assert seen == [0, 1, 2, 10, 12, 21, 22]
    assert "val/bee/1.png" in caplog.text and "val/cat/0.png" in caplog.text
    assert "2 of 9 images were skipped" in caplog.text
    strict = build_classification_test_loader(images(folder, "val"), 2, workers, max_corrupt=0.2)
    with pytest.raises(UserError, match=r"2 of 9 images cannot be read.*max_corrupt=0.2.*val/"):
        list(strict)


@pytest.mark.parametrize("workers", [0, 2])
def test_damaged_images_are_replaced_in_training(folder, workers, caplog):
    damage(folder / "train/bee/1.png")
    loader = iter(build_classification_train_loader(images(folder, "train", True), 6, workers, max_corrupt=0.1))
    with caplog.at_level(logging.WARNING):
        batches = [next(loader) for _ in range(9)]
    assert all(len(b["image"]) == 6 for b in batches)
    values = {int(v) for b in batches for v in b["image"][:, 0, 0, 0]}
    assert values == {0, 1, 2, 3, 10, 12, 13, 20, 21, 22, 23}
    assert caplog.text.count("bee/1.png") == 1


def test_too_many_damaged_images_are_an_error(folder):
    for path in (folder / "train").rglob("*.png"):
        damage(path)
    loader = build_classification_train_loader(images(folder, "train", True), 2, max_corrupt=0.5)
    with pytest.raises(UserError, match="12 of 12 images cannot be read"):
        next(iter(loader))


def test_reading_rate_is_logged(folder, caplog):
    with caplog.at_level(logging.INFO):
        loader = iter(build_classification_train_loader(images(folder, "train", True), 4))
        next(loader), next(loader)
    assert caplog.text.count("images read and augmented") == 1


def test_class_folders_that_differ_are_named(folder):
    (folder / "val/cat").rename(folder / "val/dog")
    for split in ("train", "val"):
        with pytest.raises(
            UserError, match=r"train has \['cat'\] and val has not.*val has \['dog'\]|val has \['dog'\]"
        ):
            images(folder, split)
    (folder / "val/dog").rename(folder / "val/cat")
    (folder / "train/ewe").mkdir()
    with pytest.raises(UserError, match=r"\['ewe'\]"):
        images(folder, "val")
    (folder / "val/ewe").mkdir()
    with pytest.raises(UserError, match="ewe"):  # a class without images
        images(folder, "val")
    with pytest.raises(FileNotFoundError):
        images(folder, "test")


def test_mixing_gives_soft_labels_and_wants_pairs(folder):
    mix = Mixup(mixup_alpha=1.0, cutmix_alpha=0.0, label_smoothing=0.0, num_classes=3)
    batch = next(iter(build_classification_train_loader(images(folder, "train", True), 6, mix=mix)))
    assert batch["label"].shape == (6, 3)
    torch.testing.assert_close(batch["label"].sum(1), torch.ones(6))
    with pytest.raises(UserError, match="pairs"):
        build_classification_train_loader(images(folder, "train", True), 5, mix=mix)


def test_repeated_augmentation(folder):
    sampler = iter(RepeatedAugmentation(images(folder, "train", True), num_repeats=3))
    first = [next(sampler) for _ in range(12)]
    assert sorted(first.count(i) for i in set(first)) == [3, 3, 3, 3]
    assert [next(sampler) for _ in range(12)] != first
    loader = build_classification_train_loader(images(folder, "train", True), 4, num_repeats=3)
    assert "each 3 times" in loader.augmentation() and len(next(iter(loader))["label"]) == 4


def test_an_epoch_of_few_images_is_not_rounded_away(monkeypatch):
    """As timm before 1.0.31 rounded it, which left an endless loader nothing to yield."""
    lengths = []

    def rounded(dataset, *_, num_repeats, selected_round):
        count = len(dataset)
        lengths.append(count // selected_round * selected_round if selected_round else count)

    monkeypatch.setattr(loaders, "RepeatAugSampler", rounded)
    for count in (1, 255, 256, 600):
        RepeatedAugmentation(range(count), num_repeats=3)
    assert lengths == [1, 255, 256, 512]


def test_random_erasing():
    image = torch.randint(256, (3, 32, 32), dtype=torch.uint8)
    torch.testing.assert_close(RandomErase(0.0)(image), image.float(), rtol=0, atol=1e-3)
    changed = (RandomErase(1.0, mode="const")(image) - image).abs().amax(0) > 0.5
    found = RandomErase(1.0, mode="const")(torch.zeros(3, 32, 32))
    assert 0.01 < changed.float().mean() < 0.5
    torch.testing.assert_close(found.amax(dim=(1, 2)), torch.tensor([123.675, 116.28, 103.53]))


def test_timms_transforms_leave_images_in_0_to_255():
    image = Image.fromarray(np.full((50, 70, 3), 200, np.uint8))
    for training in (False, True):
        out = create_transform(input_size=32, is_training=training, color_jitter=None, normalize=False)(image)
        assert out.shape == (3, 32, 32) and out.dtype == torch.uint8 and out.float().mean() == 200


def test_cifar_is_read_in_torchvisions_layout(tmp_path, monkeypatch):
    base = tmp_path / "cifar-100-python"
    base.mkdir()
    pixels = np.arange(2, dtype=np.uint8)[:, None].repeat(3072, 1)
    for name in ("train", "test"):
        (base / name).write_bytes(pickle.dumps({"data": pixels, "fine_labels": [7, 99]}))
    (base / "meta").write_bytes(pickle.dumps({"fine_label_names": [str(i) for i in range(100)]}))
    with pytest.raises(UserError, match="cifar-100-python is not there, or not as published"):
        cifar(str(tmp_path), "train")
    monkeypatch.setattr(torchvision.datasets.cifar, "check_integrity", lambda *_: True)
    found = LabelledImages(cifar(str(tmp_path), "val"), TO_TENSOR, train=False)
    assert len(found) == 2 and len(found.classes) == 100
    assert (found[1]["label"], int(found[1]["image"].max())) == (99, 1)


def test_the_crops_of_shapes(small_datasets, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(small_datasets))
    found = shapes_crops("val")
    assert found.classes[:2] == ["circle", "crescent"] and len(found) == 24


def test_top_k_by_hand():
    scores = torch.tensor([[3.0, 2, 1, 0], [0, 1, 2, 3], [3, 2, 1, 0]])
    evaluator = TopKEvaluator(topk=(1, 2, 5))
    evaluator.process({"label": torch.tensor([0, 2, 3])}, scores)
    evaluator.process([{"label": 1}], [{"scores": scores[0]}])
    assert evaluator.evaluate() == {"cls": {"top1": 25.0, "top2": 75.0, "top5": 100.0}}
    evaluator.reset()
    assert evaluator.evaluate() == {"cls": {"top1": 0.0, "top2": 0.0, "top5": 0.0}}


@pytest.mark.parametrize("num_repeats", [1, 3])
def test_loader_resumes_with_any_number_of_workers(folder, num_repeats):
    def batches(start, workers, count, seed=5):
        data = images(folder, "train", True)
        data.transform = v2.Compose(
            [data.transform, v2.RandomErasing(p=1.0, value="random"), v2.ToDtype(torch.float32)]
        )
        mix = Mixup(mixup_alpha=1.0, cutmix_alpha=1.0, num_classes=3)
        loader = build_classification_train_loader(data, 4, workers, mix, num_repeats)
        loader.seed, loader.start = seed, start
        return [x for b in itertools.islice(loader, count) for x in (b["image"], b["label"])]

    whole, rest = batches(0, 0, 8), batches(5, 2, 3)
    assert all(map(torch.equal, whole[10:], rest)) and len(whole[10:]) == len(rest) == 6
    assert not torch.equal(whole[0], whole[2]) and not torch.equal(whole[0], batches(0, 0, 1, seed=6)[0])
