"""The intervals of a comparison against scipy's and COCO's own numbers."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from intervals import draw_images, percentile_interval, resampled_ap, t_interval
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from scipy import stats

SIZE = 64


@pytest.fixture
def evaluator() -> SimpleNamespace:
    """Return what is read of a COCOEvaluator, with twelve images of two classes, a crowd among them."""
    rng = np.random.default_rng(3)
    boxes = [[*rng.integers(0, 40, 2).tolist(), *rng.integers(8, 24, 2).tolist()] for _ in range(30)]
    annotations = [
        dict(id=i + 1, image_id=1 + i % 12, category_id=1 + i % 2, bbox=b, area=b[2] * b[3], iscrowd=int(i == 5))
        for i, b in enumerate(boxes)
    ]
    coco = COCO()
    coco.dataset = dict(
        info={},
        images=[dict(id=i, width=SIZE, height=SIZE) for i in range(1, 13)],
        annotations=annotations,
        categories=[dict(id=1, name="a"), dict(id=2, name="b")],
    )
    coco.createIndex()
    return SimpleNamespace(_coco_api=coco, _max_dets_per_image=[1, 10, 100])


@pytest.fixture
def detections(evaluator, tmp_path):
    """Return a file of detections: objects moved by a few pixels, some of a wrong class, some where nothing is."""
    rng = np.random.default_rng(4)
    found = []
    for a in evaluator._coco_api.dataset["annotations"]:
        box = (np.array(a["bbox"]) + rng.integers(-3, 4, 4)).tolist()
        category = a["category_id"] if rng.random() < 0.8 else 3 - a["category_id"]
        found.append(dict(image_id=a["image_id"], category_id=category, bbox=box, score=float(rng.random())))
        found.append(dict(image_id=a["image_id"], category_id=category, bbox=[1, 1, 9, 9], score=float(rng.random())))
    path = tmp_path / "found.json"
    path.write_text(json.dumps(found))
    return path


def coco_ap(evaluator, path, images) -> float:
    """Return AP in percent as COCOeval has it on some images."""
    coco_eval = COCOeval(evaluator._coco_api, evaluator._coco_api.loadRes(json.loads(path.read_text())), "bbox")
    coco_eval.params.imgIds = images
    coco_eval.evaluate()
    coco_eval.accumulate()
    coco_eval.summarize()
    return 100 * coco_eval.stats[0]


def test_samples_without_repetition_have_the_ap_of_coco(evaluator, detections):
    counts = np.ones((3, 12), dtype=int)
    counts[1, 6:] = 0
    counts[2, :9] = 0
    found = resampled_ap(evaluator, detections, "bbox", counts)
    expected = [coco_ap(evaluator, detections, images) for images in (range(1, 13), range(1, 7), range(10, 13))]
    assert len(set(expected)) == 3 and min(expected) > 0
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_drawing_every_image_twice_changes_nothing(evaluator, detections):
    once, twice = resampled_ap(evaluator, detections, "bbox", np.array([[1] * 12, [2] * 12]))
    assert once == pytest.approx(twice, rel=1e-12)


def test_without_detections_ap_is_zero(evaluator, tmp_path):
    (tmp_path / "none.json").write_text("[]")
    assert resampled_ap(evaluator, tmp_path / "none.json", "bbox", draw_images(12, 5)).tolist() == [0.0] * 5


def test_draws_are_samples_with_replacement():
    counts = draw_images(40, 2000)
    assert (counts.sum(axis=1) == 40).all() and counts.std() == pytest.approx((39 / 40) ** 0.5, abs=0.02)


def test_t_interval_is_that_of_the_paired_test():
    ours, theirs = [10.0, 11.5, 12.0], [9.0, 11.0, 10.0]
    expected = stats.ttest_rel(ours, theirs).confidence_interval(0.95)
    found = t_interval([a - b for a, b in zip(ours, theirs, strict=True)])
    assert found == pytest.approx((expected.low, expected.high))
    assert t_interval([1.0]) is None


def test_percentile_interval_holds_the_middle():
    assert percentile_interval(np.arange(1001.0)) == pytest.approx((25.0, 975.0))
