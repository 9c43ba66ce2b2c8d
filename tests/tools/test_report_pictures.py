"""The report's detections: what a model predicts is drawn, and a bad model does not hide the image."""

import json
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import report_pictures
from pycocotools.coco import COCO
from pycocotools.mask import encode
from report_pictures import FEW, detection_picture

OBJECT = dict(image_id=1, category_id=1, bbox=[10, 10, 20, 20], area=400, iscrowd=0)
POINTS = [12, 12, 2, 28, 14, 1, 0, 0, 0]


def rectangle() -> dict:
    mask = np.zeros((40, 60), np.uint8, order="F")
    mask[10:30, 10:30] = 1
    rle = encode(mask)
    return dict(rle, counts=rle["counts"].decode())


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    """Return a function that draws a list of detections; it returns the boxes of each panel by its title."""
    cv2.imwrite(str(tmp_path / "a.png"), np.full((40, 60, 3), 120, np.uint8))
    coco = COCO()
    outline = [[10, 10, 30, 10, 30, 30, 10, 30]]
    coco.dataset = dict(
        images=[dict(id=1, file_name="a.png", height=40, width=60)],
        categories=[dict(id=1, name="cell")],
        annotations=[dict(OBJECT, id=1, segmentation=outline, keypoints=POINTS, num_keypoints=2)],
    )
    coco.createIndex()
    evaluator = SimpleNamespace(_coco_api=coco, _metadata=dict(image_root=str(tmp_path)))
    panels = {}

    def keep(image, boxes, names, title):
        panels[title] = boxes
        return draw(image, boxes, names, title)

    draw = report_pictures.draw_boxes
    monkeypatch.setattr(report_pictures, "draw_boxes", keep)

    def draw_detections(detections):
        folder = tmp_path / "run/inference"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "coco_instances_results.json").write_text(json.dumps(detections))
        picture = detection_picture(evaluator, {"student": tmp_path / "run", "none": tmp_path / "not there"})
        assert picture.std() > 5
        return dict(panels)

    return draw_detections


def test_masks_and_keypoints_are_drawn_where_a_model_has_them(drawn):
    scored = [x for p in ((12, 12, 0.9), (28, 14, 0.5), (3, 3, 0.01)) for x in p]
    panels = drawn([dict(OBJECT, score=0.9, segmentation=rectangle(), keypoints=scored)])
    truth, student = (panels[title] for title in ("ground truth", "student (score > 90)"))
    for box in (*truth, *student):
        assert list(map(list, box.keypoints)) == [[12, 12], [28, 14]]
        (outline,) = box.outlines
        assert (outline.min(axis=0) == 10).all() and (outline.max(axis=0) == 29).all()


def test_a_detector_of_boxes_has_neither(drawn):
    for boxes in drawn([dict(OBJECT, score=0.9)]).values():
        assert len(boxes) == 1 and not len(boxes[0].outlines) and not len(boxes[0].keypoints)


def test_the_surest_of_many_detections_are_drawn(drawn):
    wrong = [dict(OBJECT, bbox=[i, 0, 5, 5], score=0.9 - i / 100) for i in range(30)]
    panels = drawn([*wrong, dict(OBJECT, score=0.1)])  # F1 is highest with all of them
    assert [box.score for box in panels[f"student (score > 10; {FEW} of 31)"]] == [d["score"] for d in wrong[:FEW]]
