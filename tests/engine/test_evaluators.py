"""Test sets and evaluators are built before the first step, and a perfect model gets full marks."""

import pytest
from detectron2.config import LazyCall as L
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation import (
    COCOEvaluator,
)
from evaluating import Own, Perfect, config, judge
from omegaconf import OmegaConf
from small_data import CLASSES, coco, forget, register_coco
from torch import nn

from diffkd_d2.engine.evaluation import evaluate, require_test_sets
from diffkd_d2.engine.evaluators import build_test_sets
from diffkd_d2.errors import UserError


@pytest.mark.parametrize("first_id", [0, 1, 7])
def test_a_perfect_detector_has_100_whatever_the_ids(tmp_path, first_id):
    data = coco()
    for i, annotation in enumerate(data["annotations"]):
        annotation["id"] = first_id + i
    results = judge(config(register_coco(tmp_path, data, "set")), Perfect(data))
    assert results["bbox"]["AP"] == pytest.approx(100)


@pytest.mark.parametrize("key", ["area", "iscrowd", "segmentation"])
@pytest.mark.parametrize("value", [None, ...])
def test_evaluator_keys_may_be_missing(tmp_path, key, value):
    data = coco()
    for annotation in data["annotations"]:
        annotation.pop(key) if value is ... else annotation.update({key: value})
    results = judge(config(register_coco(tmp_path, data, "set")), Perfect(data))
    assert results["bbox"]["AP"] == pytest.approx(100)


def test_two_classes_of_one_name_keep_their_results(tmp_path):
    data = coco(names=("cat", "dog", "cat"))
    model = Perfect(data)
    model.answer = lambda image, answer=model.answer: answer(image)[: image != 3]  # nothing of the last class
    results = judge(config(register_coco(tmp_path, data, "set")), model)["bbox"]
    assert results["AP-cat (id 1)"] == pytest.approx(100) and results["AP-cat (id 3)"] == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (dict(test=[], evaluator=[]), "dataloader.test and no dataloader.evaluator"),
        (dict(evaluator=None), "dataloader.evaluator"),
        (dict(test=None), "dataloader.test"),
    ],
)
def test_without_a_test_set_nothing_is_evaluated(tmp_path, caplog, change, words):
    cfg = config(register_coco(tmp_path, coco(), "set"))
    cfg.dataloader.update(change)
    assert build_test_sets(cfg, nn.Identity()) == []
    assert f"nothing is evaluated: the config has no {words}" in caplog.text
    assert evaluate(nn.Identity(), []) == {}
    with pytest.raises(UserError, match="nothing to evaluate: the config has no test set"):
        require_test_sets([])


def test_two_test_sets_of_one_name_are_an_error(tmp_path):
    name = register_coco(tmp_path, coco(), "set")
    with pytest.raises(UserError, match="two test sets have the name 'set'"):
        build_test_sets(config([name, name]), nn.Identity())
    cfg = config(name)
    cfg.dataloader = dict(test=[cfg.dataloader.test] * 2, evaluator=[L(Own)(dataset_name=name)] * 2)
    with pytest.raises(UserError, match="two test sets have the name 'set'"):
        build_test_sets(cfg, nn.Identity())


def test_two_evaluators_of_one_task_are_an_error(tmp_path):
    name = register_coco(tmp_path, coco(), "set")
    nodes = [L(COCOEvaluator)(dataset_name=name, tasks=tasks, use_fast_impl=False) for tasks in (["bbox"], ["segm"])]
    build_test_sets(config(name, OmegaConf.create(nodes, flags={"allow_objects": True})), nn.Identity())
    nodes[1].tasks = ["segm", "bbox"]
    with pytest.raises(UserError, match="two evaluators of one test set report 'bbox'"):
        build_test_sets(config(name, OmegaConf.create(nodes, flags={"allow_objects": True})), nn.Identity())


def test_the_evaluator_has_the_classes_of_the_loader(tmp_path):
    name = register_coco(tmp_path, coco(), "set")
    register_coco(tmp_path, coco(names=("cat", "cow", "dog")), "permuted")
    with pytest.raises(UserError, match="its classes are cat, cow, dog; those of set are cat, dog, cow"):
        build_test_sets(config(name, dataset_name="permuted"), nn.Identity())


def test_an_evaluator_may_judge_the_first_classes_of_the_loader(tmp_path):
    # Panoptic-DeepLab's data has things and stuff as classes; its boxes are judged as things.
    name = register_coco(tmp_path, coco(names=("cat", "dog", "cow", "grass")), "all")
    register_coco(tmp_path, coco(), "things")
    with pytest.raises(UserError, match="its classes are cat, dog, cow; those of all are cat, dog, cow, grass"):
        build_test_sets(config(name, dataset_name="things"), nn.Identity())
    MetadataCatalog.get(name).stuff_classes = ["cat", "dog", "cow", "grass"]
    build_test_sets(config(name, dataset_name="things"), nn.Identity())
    with pytest.raises(UserError, match="its classes are cat, dog, cow, grass; those of things are cat, dog, cow"):
        build_test_sets(config("things", dataset_name=name), nn.Identity())


@pytest.mark.parametrize("most", [-3, 0, 9, "many"])
def test_detections_per_image_have_a_range(tmp_path, most):
    name = register_coco(tmp_path, coco(), "set")
    with pytest.raises(UserError, match=f"max_dets_per_image is {most!r}, expected 10 or more"):
        build_test_sets(config(name, max_dets_per_image=most), nn.Identity())
    build_test_sets(config(name, max_dets_per_image=10), nn.Identity())


def test_results_of_several_test_sets(tmp_path):
    data = coco()
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    half = dict(data, annotations=[dict(a, bbox=[2, 2, 2, 4], area=8) for a in data["annotations"]])
    names = [
        register_coco(tmp_path / "first", data, "first"),
        register_coco(tmp_path / "second", half, "second"),
    ]
    cfg = config(names)
    results = judge(cfg, Perfect(data))
    assert list(results) == names and list(cfg.dataloader.test.dataset.names) == names
    assert results["first"]["bbox"]["AP"] == pytest.approx(100)
    assert results["second"]["bbox"]["AP50"] == pytest.approx(100) and results["second"]["bbox"]["AP"] < 20
    assert judge(config(names[:1]), Perfect(data))["bbox"]["AP"] == pytest.approx(100)


def test_a_dataset_without_a_json_is_converted_anew_by_each_run(tmp_path):
    register_coco(tmp_path, coco(), "source")
    for count in (3, 2):
        forget("set")  # as in a new process
        DatasetCatalog.register("set", lambda count=count: DatasetCatalog.get("source")[:count])
        MetadataCatalog.get("set").thing_classes = list(CLASSES)
        cfg = config("set")
        cfg.dataloader.evaluator.output_dir = str(tmp_path / "out")
        for _ in range(2):
            (test_set,) = build_test_sets(cfg, nn.Identity())
            assert len(test_set.evaluators[0]._coco_api.imgs) == count
