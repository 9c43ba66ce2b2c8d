"""Label maps of every kind of PNG: class indices of the turned image, in training and evaluation, or a named error."""

import numpy as np
import pytest
import torch
from detectron2.config import LazyCall as L
from detectron2.data import DatasetCatalog
from detectron2.evaluation import SemSegEvaluator
from omegaconf import OmegaConf
from PIL import Image
from small_data import SIZE, evaluation_loader, register_label_maps, samples, train_loader

from diffkd_d2.data.label_maps import LabelRange, check_panoptic_map
from diffkd_d2.engine.evaluation import evaluate
from diffkd_d2.engine.evaluators import build_test_sets
from diffkd_d2.engine.loaders import build_loader
from diffkd_d2.errors import UserError

INDICES = np.arange(SIZE[0] * SIZE[1], dtype=np.uint8).reshape(SIZE[::-1]) % 3


def palette(transparent: bool = False) -> Image.Image:
    """Return a palette image whose luminances are not its indices."""
    image = Image.fromarray(INDICES)
    image.putpalette([0, 0, 0, 128, 0, 0, 0, 0, 255, *[255] * 12])
    if transparent:
        image.info["transparency"] = 0
    return image


def turned(orientation: int) -> np.ndarray:
    """Return the indices as one sees them, by the definition of EXIF's orientations."""
    rows = {
        1: INDICES,
        2: INDICES[:, ::-1],
        3: INDICES[::-1, ::-1],
        4: INDICES[::-1],
        5: INDICES.T,
        6: INDICES[::-1].T,
        7: INDICES[::-1, ::-1].T,
        8: INDICES[:, ::-1].T,
    }
    return rows[orientation]


def trained_on(name: str) -> list[torch.Tensor]:
    """Return the label maps that training sees."""
    return [sample["sem_seg"] for sample in samples(build_loader(train_loader(name)))]


class Oracle(torch.nn.Module):
    """A segmentor that answers with the label maps of the training data."""

    def __init__(self, name: str):
        super().__init__()
        sets = samples(build_loader(train_loader(name)))
        self.answers = {s["file_name"]: s["sem_seg"] for s in sets}

    def forward(self, inputs):
        maps = [self.answers[x["file_name"]].clamp(max=2) for x in inputs]
        return [{"sem_seg": torch.nn.functional.one_hot(m, 3).permute(2, 0, 1)} for m in maps]


def miou(name: str) -> float:
    """Return the mIoU of a perfect segmentor."""
    node = OmegaConf.create()
    node.dataloader = dict(test=evaluation_loader(name), evaluator=L(SemSegEvaluator)(dataset_name=name))
    model = Oracle(name)
    return evaluate(model, build_test_sets(node, model))["sem_seg"]["mIoU"]


@pytest.mark.parametrize(
    "label_map",
    [
        Image.fromarray(INDICES),
        palette(),
        palette(transparent=True),
        Image.fromarray(INDICES.astype(np.uint16)),
    ],
    ids=["grey", "palette", "transparent palette", "16 bits"],
)
def test_indices_are_read_in_training_and_evaluation(tmp_path, label_map):
    name = register_label_maps(tmp_path, [label_map], "maps")
    assert trained_on(name)[0].tolist() == INDICES.tolist()
    assert miou(name) == pytest.approx(100)


def test_1_bit_is_0_and_1(tmp_path):
    bits = Image.fromarray(INDICES > 0)
    assert bits.mode == "1"
    name = register_label_maps(tmp_path, [bits], "maps")
    assert trained_on(name)[0].tolist() == (INDICES > 0).astype(int).tolist()


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
@pytest.mark.parametrize("kind", [Image.fromarray(INDICES), palette()], ids=["grey", "palette"])
def test_a_label_map_turns_with_its_image(tmp_path, orientation, kind):
    name = register_label_maps(tmp_path, [kind], "maps", orientation)
    assert trained_on(name)[0].tolist() == turned(orientation).tolist()
    assert miou(name) == pytest.approx(100)


def test_label_map_of_rotated_image_is_kept(tmp_path):
    name = register_label_maps(tmp_path, [turned(6)], "maps", 6)
    assert trained_on(name)[0].tolist() == turned(6).tolist()


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_colours_are_an_error_that_names_the_file(tmp_path, mode):
    name = register_label_maps(tmp_path, [Image.fromarray(INDICES).convert("RGB").convert(mode)], "maps")
    with pytest.raises(UserError, match=rf"0\.png has the mode {mode}: expected one class index per pixel"):
        build_loader(train_loader(name))


@pytest.mark.parametrize(("value", "dtype"), [(7, np.uint8), (3, np.uint8), (700, np.uint16)])
def test_value_out_of_range_is_an_error(tmp_path, value, dtype):
    wrong = INDICES.astype(dtype)
    wrong[0, 0] = value
    name = register_label_maps(tmp_path, [INDICES, wrong], "maps")
    for node in (train_loader(name), evaluation_loader(name)):
        with pytest.raises(UserError, match=rf"1\.png holds the value {value}"):
            build_loader(node)


def test_value_out_of_range_after_the_sample(tmp_path):
    name = register_label_maps(tmp_path, [INDICES] * 40, "maps")
    loader = build_loader(train_loader(name))
    wrong = loader.records[1]["sem_seg_file_name"]
    Image.fromarray(np.full_like(INDICES, 9)).save(wrong)
    with pytest.raises(UserError, match=rf"{wrong} holds the value 9: expected 0 to 2, or 255"):
        samples(loader)


def test_ignored_values_are_not_an_error():
    LabelRange(3, 255).check(torch.tensor([[0, 2], [255, 1]]), "x.png")
    LabelRange(3, 0).check(torch.tensor([0, 2]), "x.png")
    with pytest.raises(ValueError, match="x.png holds the value -1"):
        LabelRange(3, 255).check(torch.tensor([-1]), "x.png")


@pytest.mark.parametrize("orientation", [1, 6])
def test_label_map_of_wrong_size_is_an_error(tmp_path, orientation):
    name = register_label_maps(tmp_path, [INDICES[:4]], "maps", orientation)
    seen = "12 x 8" if orientation == 1 else "8 x 12"
    with pytest.raises(UserError, match=rf"0\.png is 12 x 4 \(width x height\), its image .*0\.jpg is {seen}"):
        build_loader(train_loader(name))


def test_label_maps_with_only_0_and_the_ignored_value_give_a_warning(tmp_path, caplog):
    name = register_label_maps(tmp_path, [np.where(INDICES > 0, 255, 0).astype(np.uint8)] * 2, "maps")
    build_loader(train_loader(name))
    assert "maps: all 2 sampled label maps contain only 0 and 255" in caplog.text


def test_missing_label_maps_are_counted(tmp_path):
    name = register_label_maps(tmp_path, [INDICES] * 3, "maps")
    records = DatasetCatalog.get(name)
    DatasetCatalog.remove(name)
    DatasetCatalog.register(name, lambda: records)
    (tmp_path / "maps_labels" / "2.png").unlink()
    node = OmegaConf.create()
    node.dataloader = dict(test=evaluation_loader(name), evaluator=L(SemSegEvaluator)(dataset_name=name))
    with pytest.raises(UserError, match=r"2\.png"):
        build_test_sets(node, torch.nn.Identity())


def test_panoptic_files_are_compared_with_their_images(tmp_path):
    name = register_label_maps(tmp_path, [np.dstack([INDICES] * 3), np.dstack([INDICES[:4]] * 3)], "maps", 6)
    folder = tmp_path / f"{name}_images", tmp_path / f"{name}_labels"
    with pytest.raises(ValueError, match="turned by EXIF"):
        check_panoptic_map(str(folder[0] / "0.jpg"), str(folder[1] / "0.png"))
    with pytest.raises(ValueError, match="is 12 x 4"):
        check_panoptic_map(str(folder[0] / "1.jpg"), str(folder[1] / "1.png"))
