"""COCO files with missing values that have only one meaning, and with probable mistakes."""

import pytest
from small_data import coco, register_coco, samples, train_loader

from diffkd_d2.data.coco_defaults import warn_of_contradictions
from diffkd_d2.data.coco_json import check_coco
from diffkd_d2.engine.loaders import build_loader
from diffkd_d2.errors import UserError


def read(tmp_path, data, **mapper):
    """Return the boxes that training sees."""
    name = register_coco(tmp_path, data, "gaps")
    return [len(sample["instances"]) for sample in samples(build_loader(train_loader(name, **mapper)))]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("iscrowd", None, "no 'iscrowd': taken as 0"),
        ("iscrowd", ..., "no 'iscrowd': taken as 0"),
        ("area", None, "no 'area': taken as the box's"),
        ("area", ..., "no 'area': taken as the box's"),
    ],
)
def test_missing_values_are_filled_in_and_counted(tmp_path, caplog, key, value, message):
    data = coco()
    for annotation in data["annotations"][:2]:
        annotation.pop(key) if value is ... else annotation.update({key: value})
    assert read(tmp_path, data) == [1, 1, 1]
    assert f"gaps.json: 2 of 3 annotations have {message}" in caplog.text


@pytest.mark.parametrize("masks", [None, [], [[]], [[1, 1, 5, 5]]])
def test_boxes_are_trained_on_without_masks(tmp_path, masks):
    data = coco()
    for annotation in data["annotations"]:
        annotation["segmentation"] = masks
    assert read(tmp_path, data, use_instance_mask=False) == [1, 1, 1]


@pytest.mark.parametrize("masks", [None, [], [[]]])
def test_missing_mask_is_an_error(tmp_path, masks):
    data = coco()
    data["annotations"][1]["segmentation"] = masks
    with pytest.raises(UserError, match=r"1 of 3 annotations have no mask.*1\.jpg \(image_id 2\)"):
        read(tmp_path, data, use_instance_mask=True)


def test_rle_where_polygons_are_read_is_an_error_that_names_the_fix(tmp_path):
    data = coco()
    data["annotations"][2]["segmentation"] = {"counts": [20, 76], "size": [8, 12]}
    with pytest.raises(UserError, match="1 of 3 masks are RLE.*instance_mask_format=bitmask"):
        read(tmp_path, data, use_instance_mask=True)
    assert read(tmp_path, data, use_instance_mask=True, instance_mask_format="bitmask") == [1, 1, 1]


def test_file_without_keypoints_is_an_error(tmp_path):
    with pytest.raises(UserError, match=r"none of 3 annotations has 'keypoints'"):
        read(tmp_path, coco(), use_keypoint=True)


@pytest.mark.parametrize("keypoints", [..., None, []])
def test_missing_keypoints_become_invisible(tmp_path, keypoints):
    data = coco(images=2)
    data["annotations"].append(dict(data["annotations"][0], id=7))
    data["annotations"][1]["keypoints"] = data["annotations"][2]["keypoints"] = [3, 3, 2, 4, 4, 2]
    if keypoints is not ...:
        data["annotations"][0]["keypoints"] = keypoints
    name = register_coco(tmp_path, data, "gaps")
    first = samples(build_loader(train_loader(name, use_keypoint=True)))[0]["instances"]
    assert first.gt_keypoints.tensor[:, :, 2].tolist() == [[0, 0], [2, 2]]


def test_different_numbers_of_keypoints_are_an_error(tmp_path):
    data = coco(images=2)
    data["annotations"][0]["keypoints"], data["annotations"][1]["keypoints"] = [1, 1, 2], [1, 1, 2, 3, 3, 2]
    with pytest.raises(UserError, match="different numbers of keypoints: 1 in .*0.jpg.*2 in .*1.jpg"):
        read(tmp_path, data, use_keypoint=True)


def test_boxes_of_two_corners_are_counted(tmp_path, caplog):
    data = coco()
    for annotation in data["annotations"][:2]:
        annotation["bbox"] = [5, 3, 11, 7]
        annotation["area"] = 24
    read(tmp_path, data)
    assert "'area' does not fit the box in 2 of 3 annotations, but fits it as x0 y0 x1 y1: 'bbox' must" in caplog.text
    assert "gaps: 2 of 3 boxes extend beyond their image, such as [5, 3, 11, 7] (XYWH_ABS) of" in caplog.text


def test_correct_boxes_give_no_warning(tmp_path, caplog):
    data = coco()
    data["annotations"][0].update(bbox=[0, 0, 12.5, 8], area=40)  # rounded outwards; a mask smaller than its box
    read(tmp_path, data)
    assert "boxes" not in caplog.text and "'area'" not in caplog.text


def test_large_area_and_shared_file_are_counted(tmp_path, caplog):
    data = coco()
    data["annotations"][0]["area"] = 500
    data["images"][1]["file_name"] = data["images"][0]["file_name"]
    read(tmp_path, data)
    assert "'area' is larger than the box in 1 of 3 annotations" in caplog.text
    assert "1 of 3 images share their file_name with another image" in caplog.text


def test_categories_of_one_name_stay_apart(tmp_path, caplog):
    loader = build_loader(train_loader(register_coco(tmp_path, coco(names=("cat", "dog", "cat")), "gaps")))
    assert loader.class_names == {"things": ["cat (id 1)", "dog", "cat (id 3)"]}
    assert "2 categories are named 'cat'" in caplog.text


@pytest.mark.parametrize(
    ("key", "value"), [("id", "1"), ("image_id", "1"), ("category_id", "1"), ("area", "16"), ("iscrowd", 2)]
)
def test_wrong_type_names_the_record(tmp_path, key, value):
    data = coco()
    data["annotations"][0][key] = value
    with pytest.raises(UserError, match=rf"gaps\.json: annotation 0.*'{key}' is {value!r}"):
        read(tmp_path, data)


def test_detectron2s_own_json_may_have_texts_as_ids_and_rotated_boxes():
    data = {
        "images": [{"id": "a/b", "file_name": "b.jpg", "height": 4, "width": 4}],
        "categories": [{"id": 0, "name": "cat"}],
        "annotations": [
            {"id": 1, "image_id": "a/b", "category_id": 0, "bbox": [2, 2, 1, 1, 30.0], "area": 1, "iscrowd": 0}
        ],
    }
    check_coco(data, "x_coco_format.json", converted=True)
    warn_of_contradictions(data, "x_coco_format.json")
    with pytest.raises(UserError, match="image 0: 'id' is 'a/b'"):
        check_coco(data, "mine.json")
