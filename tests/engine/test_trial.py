"""Evaluators are tried before the first step: what is missing is one line, and nothing else changes."""

import json
import logging
import random

import numpy as np
import pytest
import torch
from detectron2.config import LazyCall as L
from detectron2.data import MetadataCatalog
from detectron2.evaluation import (
    COCOPanopticEvaluator,
    LVISEvaluator,
    SemSegEvaluator,
)
from detectron2.structures.keypoints import heatmaps_to_keypoints
from evaluating import Own, Perfect, config, judge
from small_data import coco, forget, register_coco, register_label_maps
from torch import nn

from diffkd_d2.datasets.shapes import register_shapes
from diffkd_d2.engine.evaluation import evaluate, require_test_sets
from diffkd_d2.engine.evaluators import EvaluationSet, build_test_sets
from diffkd_d2.engine.outputs import leave_out_missing, try_outputs
from diffkd_d2.errors import ProjectError, UserError
from diffkd_d2.evaluation.third_party import provide_panopticapi
from diffkd_d2.evaluation.top_k import TopKEvaluator


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


def test_an_output_without_any_instance_needs_no_masks(tmp_path, caplog):
    data = coco()
    cfg = config(register_coco(tmp_path, data, "set"), tasks=["bbox", "segm"])
    sets = build_test_sets(cfg, Perfect(data))
    shy = Perfect({**data, "annotations": []})
    assert not shy([{"image_id": 1}])[0]["instances"].has("pred_masks")
    try_outputs(shy, sets)
    assert "nothing was found in the first images of set: masks and keypoints are not tried" in caplog.text
    later = Perfect(
        {**data, "annotations": [a for a in data["annotations"] if a["image_id"] != data["images"][0]["id"]]}
    )
    with pytest.raises(UserError, match="tasks has 'segm', but the model predicts no pred_masks"):
        try_outputs(later, sets)
    (kept,) = leave_out_missing(shy, sets)
    assert kept.evaluators[0]._tasks == ("bbox", "segm")


def test_a_teacher_of_another_task_is_judged_by_what_it_predicts(tmp_path, caplog):
    data = coco()
    name = register_coco(tmp_path, data, "set")
    (own,) = build_test_sets(config(name, tasks=["bbox", "segm"]), Perfect(data))
    maps = SemSegEvaluator(register_label_maps(tmp_path, [np.zeros((8, 12), np.uint8)], "maps"))
    (kept,) = leave_out_missing(Perfect(data), [EvaluationSet("set", own.loader, [*own.evaluators, maps])])
    assert kept.evaluators == own.evaluators and kept.evaluators[0]._tasks == ("bbox",)
    assert "SemSegEvaluator in full: the model predicts no 'sem_seg'" in caplog.text
    assert "COCOEvaluator in full: tasks has 'segm', but the model predicts no pred_masks" in caplog.text
    assert evaluate(Perfect(data), [kept])["bbox"]["AP"] > 99
    assert evaluate(Perfect(data), [EvaluationSet("set", own.loader, [])]) == {}
    with pytest.raises(UserError, match="predicts nothing that dataloader.evaluator reads"):
        require_test_sets(leave_out_missing(Perfect(data), [EvaluationSet("set", own.loader, [maps])]))
    with pytest.raises(UserError, match="SemSegEvaluator of set: the model predicts no 'sem_seg'"):
        try_outputs(Perfect(data), [EvaluationSet("set", own.loader, [maps])])


def test_an_output_without_instances_is_no_detection(tmp_path):
    class Blind(nn.Module):  # as Panoptic-DeepLab answers when it finds nothing
        def forward(self, inputs):
            return [{} for _ in inputs]

    sets = build_test_sets(config(register_coco(tmp_path, coco(), "set"), tasks=["bbox", "segm"]), Blind())
    try_outputs(Blind(), sets)
    assert leave_out_missing(Blind(), sets)[0].evaluators == sets[0].evaluators


def test_an_untrained_keypoint_head_does_not_stop_the_run(tmp_path, caplog):
    class Untrained(nn.Module):  # far apart logits, whose scores are NaN
        def forward(self, inputs):
            return heatmaps_to_keypoints(1e4 * torch.eye(8)[None, None], torch.tensor([[0.0, 0.0, 30.0, 30.0]]))

    sets = build_test_sets(config(register_coco(tmp_path, coco(), "set")), Untrained())
    try_outputs(Untrained(), sets)
    assert "the scores of keypoints are NaN in the first images of set" in caplog.text
    with pytest.raises((UserError, ProjectError), match="the first prediction on set: .*keypoints.py.*AssertionError"):
        leave_out_missing(Untrained(), sets)  # a teacher is trained


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
