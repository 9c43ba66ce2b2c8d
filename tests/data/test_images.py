"""Image files that are missing, have 16 bits, are turned by EXIF, or differ in size from their record."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image
from small_data import SIZE, coco, evaluation_loader, register_coco, train_loader, write_image

from diffkd_d2.classification.datasets import LabelledImages, image_folder
from diffkd_d2.data.annotations import NamedErrors
from diffkd_d2.data.images import read_header, require_8_bits, sample
from diffkd_d2.engine.loaders import build_loader
from diffkd_d2.errors import ProjectError, UserError

DEEP = np.full((8, 12, 3), 40_000, np.uint16)


def encoded(extension: str, array: np.ndarray, *options: int) -> bytes:
    """Return the array as a file of that kind."""
    return cv2.imencode(extension, array, options)[1].tobytes()


@pytest.mark.parametrize(
    ("content", "mode"),
    [
        (encoded(".png", DEEP), "RGB"),
        (encoded(".png", np.dstack([DEEP, DEEP[:, :, :1]])), "RGBA"),
        (encoded(".tif", DEEP), "RGB"),
        (encoded(".tif", DEEP, cv2.IMWRITE_TIFF_COMPRESSION, 1), "RGB"),
        (encoded(".png", DEEP[:, :, 0]), "I;16"),
        (encoded(".tif", DEEP[:, :, 0].astype(np.float32)), "F"),
    ],
)
def test_more_than_8_bits_per_channel_are_an_error(tmp_path, content, mode):
    path = tmp_path / "deep.png"
    path.write_bytes(content)
    header = read_header(str(path))
    assert header.mode == mode
    with pytest.raises(ValueError, match=f"more than 8 bits per channel \\(mode {mode}"):
        require_8_bits(header)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "CMYK"])
def test_8_bits_are_fine(tmp_path, mode):
    path = tmp_path / ("image.tif" if mode == "CMYK" else "image.png")
    Image.new("RGBA" if mode == "LA" else "RGB", SIZE).convert(mode).save(path)
    require_8_bits(read_header(str(path)))


def test_deep_image_is_named(tmp_path):
    data = coco()
    (tmp_path / "1.jpg").write_bytes(encoded(".png", DEEP))
    name = register_coco(tmp_path, data, "images")
    for node in (train_loader(name), evaluation_loader(name)):
        with pytest.raises(UserError, match=r"1\.jpg \(image_id 2\): ValueError: it has more than 8 bits"):
            build_loader(node)

    def mapper(record):
        raise AssertionError("it must not be read")

    mapper.image_format = "BGR"
    with pytest.raises(UserError, match="more than 8 bits"):
        NamedErrors(mapper)({"file_name": str(tmp_path / "1.jpg")})
    with pytest.raises(ProjectError, match="it must not be read"):
        NamedErrors(mapper)({"file_name": str(tmp_path / "0.jpg")})


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("extension", [".jpg", ".png"])
def test_seen_size_applies_the_exif_orientation(tmp_path, orientation, extension):
    path = tmp_path / f"image{extension}"
    write_image(path, SIZE, orientation)
    header = read_header(str(path))
    assert header.orientation == orientation
    assert header.seen_size == (SIZE[::-1] if orientation >= 5 else SIZE)


@pytest.mark.parametrize(
    ("size", "orientation", "warned"),
    [
        ((10, 10), 6, True),
        ((10, 10), 5, True),
        (SIZE, 3, True),
        (SIZE, 2, True),
        (SIZE, 6, False),
        ((10, 10), 1, False),
    ],
)
def test_rotations_that_the_size_does_not_show_give_a_warning(tmp_path, caplog, size, orientation, warned):
    data = coco()
    seen = size[::-1] if orientation >= 5 else size
    for i, image in enumerate(data["images"]):
        write_image(tmp_path / f"{i}.jpg", size, orientation if i < 2 else 1)
        image["width"], image["height"] = seen if i < 2 else size
    build_loader(train_loader(register_coco(tmp_path, data, "images")))
    assert ("images: 2 of 3 sampled images are turned by EXIF" in caplog.text) == warned


@pytest.mark.parametrize("orientation", [1, 6])
def test_wrong_image_size_is_an_error(tmp_path, orientation):
    data = coco()
    write_image(tmp_path / "2.jpg", SIZE, orientation)
    data["images"][2].update(width=SIZE[0] + (orientation == 1))
    with pytest.raises(UserError, match=r"2\.jpg \(image_id 3\): ValueError: the file is \d+ x \d+.* record says"):
        build_loader(train_loader(register_coco(tmp_path, data, "images")))


def test_missing_files_are_counted_before_the_training(tmp_path):
    data = coco()
    name = register_coco(tmp_path, data, "images")
    (tmp_path / "1.jpg").unlink()
    for node in (train_loader(name), evaluation_loader(name)):
        with pytest.raises(UserError, match=r"1 of 3 images of images are missing, such as .*1\.jpg"):
            build_loader(node)


def test_sample_is_evenly_spaced():
    assert sample(range(10), 5) == [0, 2, 4, 6, 8]
    assert sample(range(3), 100) == [0, 1, 2]
    assert sample([], 5) == []


def test_a_file_that_is_no_image_is_named(tmp_path):
    name = register_coco(tmp_path, coco(), "images")
    (tmp_path / "0.jpg").write_bytes(io.BytesIO(b"no image").getvalue())
    with pytest.raises(UserError, match=r"0\.jpg \(image_id 1\): UnidentifiedImageError"):
        build_loader(train_loader(name))


def test_deep_image_of_a_class_folder_is_skipped(tmp_path):
    for i, content in enumerate((encoded(".png", DEEP), encoded(".png", DEEP.astype(np.uint8)))):
        (tmp_path / "train" / f"class{i}").mkdir(parents=True)
        (tmp_path / "train" / f"class{i}" / "0.png").write_bytes(content)
    images = LabelledImages(image_folder(str(tmp_path), "train"), transform=np.asarray, train=False)
    assert "0.png (it has more than 8 bits per channel" in images[0]["skipped"][0]
    assert images[1]["skipped"] == [] and images[1]["label"] == 1
