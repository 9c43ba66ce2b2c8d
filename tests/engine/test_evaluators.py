"""Evaluators are tried before the first step: a perfect model gets full marks, what is missing is one line."""

import json
import logging
import random

import numpy as np
import pytest
import torch
from detectron2.config import LazyCall as L
from detectron2.data import MetadataCatalog
from detectron2.evaluation import (
    COCOEvaluator,
    COCOPanopticEvaluator,
    DatasetEvaluator,
    LVISEvaluator,
    SemSegEvaluator,
)
from detectron2.structures import Boxes, Instances
from omegaconf import OmegaConf
from small_data import coco, evaluation_loader, forget, register_coco, register_label_maps
from torch import nn

from diffkd_d2.datasets.shapes import register_shapes
from diffkd_d2.engine.evaluation import evaluate, require_test_sets
from diffkd_d2.engine.evaluators import EvaluationSet, build_test_sets, try_outputs
from diffkd_d2.errors import UserError
from diffkd_d2.evaluation.third_party import provide_panopticapi
from diffkd_d2.evaluation.top_k import TopKEvaluator


class Perfect(nn.Module):
    """Answers with the truth of a COCO json."""

    def __init__(self, data: dict, masks: bool = False):
        super().__init__()
        self.data, self.masks, self.calls = data, masks, 0

    def forward(self, inputs):
        self.calls += 1
        return [{"instances": self.answer(x["image_id"])} for x in inputs]

    def answer(self, image: int) -> Instances:
        numbers = {number: i for i, number in enumerate(sorted(c["id"] for c in self.data["categories"]))}
        found = [a for a in self.data["annotations"] if a["image_id"] == image]
        instances = Instances((8, 12))
        boxes = torch.tensor([a["bbox"] for a in found], dtype=torch.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        instances.pred_boxes, instances.scores = Boxes(boxes), torch.ones(len(found))
        instances.pred_classes = torch.tensor([numbers[a["category_id"]] for a in found])
        if self.masks:
            instances.pred_masks = torch.zeros(len(found), 8, 12, dtype=torch.bool)
        return instances


class Own(DatasetEvaluator):
    """An evaluator of a user's own."""

    def __init__(self, dataset_name: str = "", broken: bool = False):
        if broken:
            raise RuntimeError("in the user's own code")
        self.seen = 0

    def process(self, inputs, outputs):
        self.seen += len(inputs)

    def evaluate(self):
        return {"own": {"images": self.seen}}


def config(names, evaluator=None, **options):
    """Return a config of test data with COCO's evaluator."""
    usual = {"dataset_name": "${..test.dataset.names}", "tasks": ["bbox"], "use_fast_impl": False}
    evaluator = evaluator or L(COCOEvaluator)(**{**usual, **options})
    cfg = OmegaConf.create(flags={"allow_objects": True})
    cfg.dataloader = dict(test=evaluation_loader(names), evaluator=evaluator)
    return cfg


def judge(cfg, model):
    """Build, try and evaluate."""
    sets = build_test_sets(cfg, model)
    try_outputs(model, sets)
    return evaluate(model, sets)


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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(tasks=["boxes"]), r"tasks is \['boxes'\]: expected bbox, segm or keypoints"),
        (dict(tasks=["bbox", "keypoints"]), "none of 3 annotations has 'keypoints'"),
        (dict(dataset_name="sett"), "there is no such dataset; the nearest names: set"),
        (dict(dataset_name="other"), r"does not know 2 of 3 images of set looked at, such as .*1\.jpg \(image_id 2\)"),
        (dict(tazks=1), "TypeError"),
    ],
)
def test_missing_evaluator_input_is_an_error(tmp_path, options, message):
    name = register_coco(tmp_path, coco(), "set")
    register_coco(tmp_path, coco(images=1), "other")
    with pytest.raises(UserError, match=f"evaluator COCOEvaluator of .*{message}"):
        build_test_sets(config(name, **options), Perfect(coco()))


def test_masks_that_are_missing_are_counted(tmp_path):
    data = coco()
    del data["annotations"][1]["segmentation"]
    with pytest.raises(UserError, match="1 of 3 annotations have no mask .* in image 2: take 'segm' out of"):
        build_test_sets(config(register_coco(tmp_path, data, "set"), tasks=["bbox", "segm"]), Perfect(data))


@pytest.mark.parametrize(("sigmas", "fits"), [([0.05] * 2, True), ([0.05] * 3, False), ([], False)])
def test_sigmas_are_as_many_as_keypoints(tmp_path, caplog, sigmas, fits):
    data = coco()
    for annotation in data["annotations"][1:]:
        annotation["keypoints"] = [3, 3, 2, 5, 5, 2]
        annotation["num_keypoints"] = 2
    cfg = config(register_coco(tmp_path, data, "set"), tasks=["bbox", "keypoints"], kpt_oks_sigmas=sigmas)
    if fits:
        with caplog.at_level(logging.INFO):
            build_test_sets(cfg, Perfect(data))
        assert "bbox AP 100, keypoints AP" in caplog.text
    else:
        with pytest.raises(UserError, match=r"objects have \[2\] keypoints, .*kpt_oks_sigmas is for (3|17)"):
            build_test_sets(cfg, Perfect(data))


def test_a_model_that_predicts_no_masks_is_told_so(tmp_path):
    data = coco()
    cfg = config(register_coco(tmp_path, data, "set"), tasks=["bbox", "segm"])
    with pytest.raises(UserError, match="tasks has 'segm', but the model predicts no pred_masks"):
        try_outputs(Perfect(data), build_test_sets(cfg, Perfect(data)))
    try_outputs(Perfect(data, masks=True), build_test_sets(cfg, Perfect(data)))


def test_a_loader_of_batches_is_tried_with_its_first_batch():
    class Scores(nn.Module):
        def forward(self, inputs):
            return inputs["scores"]

    batches = [dict(scores=torch.eye(3), label=torch.arange(3))] * 2
    evaluator = TopKEvaluator([1])
    try_outputs(Scores(), [EvaluationSet("set", batches, [evaluator]), EvaluationSet("", [], [evaluator])])
    assert evaluator._total == 0
    with pytest.raises(UserError, match="the first prediction on set: .*RuntimeError: mat1 and mat2 shapes"):
        try_outputs(nn.Linear(3, 2), [EvaluationSet("set", [torch.ones(2, 4)], [evaluator])])
    del batches[0]["label"]
    with pytest.raises(UserError, match="evaluator TopKEvaluator of set: KeyError: 'label'"):
        try_outputs(Scores(), [EvaluationSet("set", batches, [evaluator])])
    for topk in ([], [0, 5]):
        with pytest.raises(UserError, match="expected numbers of at least 1"):
            TopKEvaluator(topk)


def test_label_maps_that_a_dataset_lacks_are_named(tmp_path):
    name = register_coco(tmp_path, coco(), "set")
    MetadataCatalog.get(name).set(stuff_classes=["a"], ignore_label=255)
    with pytest.raises(UserError, match="SemSegEvaluator of set: the dataset has no label maps"):
        build_test_sets(config(name, L(SemSegEvaluator)(dataset_name=name)), nn.Identity())


def test_trying_changes_nothing_else(tmp_path):
    data = coco()
    cfg = config(register_coco(tmp_path, data, "set"), output_dir=str(tmp_path / "out"))
    model = Perfect(data).train()
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    sets = build_test_sets(cfg, model)
    try_outputs(model, sets)
    assert (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == before
    assert model.training and sets[0].evaluators[0]._predictions == []
    assert not (tmp_path / "out").exists() and logging.root.manager.disable == logging.NOTSET
    evaluate(model, sets)
    assert (tmp_path / "out" / "coco_instances_results.json").exists()


def test_a_dataset_without_a_json_needs_an_output_folder(tmp_path):
    name = register_coco(tmp_path, coco(), "set")
    del MetadataCatalog.get(name).__dict__["json_file"]
    with pytest.raises(UserError, match="output_dir must be provided"):
        build_test_sets(config(name), Perfect(coco()))


def test_a_package_that_is_missing_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "lvis", None)
    name = register_coco(tmp_path, coco(), "set")
    with pytest.raises(UserError, match="evaluator LVISEvaluator of set needs lvis: pip install lvis"):
        build_test_sets(config(name, L(LVISEvaluator)(dataset_name=name)), Perfect(coco()))


def test_custom_evaluator_keeps_its_traceback(tmp_path):
    data = coco()
    name = register_coco(tmp_path, data, "set")
    assert judge(config(name, L(Own)(dataset_name=name)), Perfect(data)) == {"own": {"images": 4}}
    with pytest.raises(RuntimeError, match="own code"):
        build_test_sets(config(name, L(Own)(dataset_name=name, broken=True)), Perfect(data))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda meta: meta.__dict__.pop("stuff_classes"), "stuff_classes"),
        (lambda meta: meta.__dict__.pop("ignore_label"), "ignore_label"),
    ],
)
def test_metadata_that_segmentation_needs(tmp_path, change, message):
    name = register_label_maps(tmp_path, [np.zeros((8, 12), np.uint8)], "maps")
    change(MetadataCatalog.get(name))
    with pytest.raises(UserError, match=f"evaluator SemSegEvaluator of maps: AttributeError: .*{message}"):
        build_test_sets(config(name, L(SemSegEvaluator)(dataset_name=name)), nn.Identity())


def test_panoptic_ground_truth_has_pq_100(small_datasets, caplog, monkeypatch):
    provide_panopticapi()
    name = "panoptic_trial"
    forget(name)
    for split in ("train", "val"):
        for suffix in ("", "_sem_seg", "_panoptic", "_panoptic_separated"):
            forget(f"shapes_{split}{suffix}")
    register_shapes(str(small_datasets))
    name = "shapes_val_panoptic"
    with caplog.at_level(logging.INFO):
        build_test_sets(config(name, L(COCOPanopticEvaluator)(dataset_name=name)), nn.Identity())
    assert (
        "evaluator COCOPanopticEvaluator of shapes_val_panoptic: tried on the truth of images [1, 2]: PQ 100"
        in caplog.text
    )
    meta = MetadataCatalog.get(name)
    data = json.loads(open(meta.panoptic_json).read())
    data["annotations"][0]["segments_info"][0]["category_id"] = 77
    changed = small_datasets / "changed.json"
    changed.write_text(json.dumps(data))
    monkeypatch.setitem(meta.__dict__, "panoptic_json", str(changed))
    with pytest.raises(UserError, match="changed.json: category 77 is neither thing nor stuff"):
        build_test_sets(config(name, L(COCOPanopticEvaluator)(dataset_name=name)), nn.Identity())
