"""compare.py where something changes between its calls, or where arms do not fit together."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import compare
import compare_results
import numpy as np
import pytest
import report
import torch
from compare_arms import config_hash, load_arm, parse_arms, quoted
from compare_results import image_samples
from compare_runs import Run
from detectron2.evaluation import COCOEvaluator
from omegaconf import OmegaConf

from diffkd_d2.engine.overrides import apply_overrides
from diffkd_d2.errors import UserError

ALONE = "configs/shapes/alone_retinanet_r18.py"


def test_runs_of_another_config_are_refused(tmp_path):
    def run(config):
        return Run("alone", "seed 1", tmp_path / "run", ["a"], [], 3, 1, config)

    run("one").claim()
    run("one").claim()
    with pytest.raises(UserError, match="was made with another config or other files, such as weights, of the same"):
        run("two").claim()
    (tmp_path / "run/words.json").write_text(json.dumps({"words": ["a"], "threads": 1}))  # of an older version
    run("two").claim()


def test_the_hash_of_a_config_counts_what_stands_in_its_files(tmp_path):
    weights = [tmp_path / f"{name}.pth" for name in "abc"]
    for path, text in zip(weights, ("one", "one", "two"), strict=True):
        path.write_text(text)

    def of_weights(path):
        cfg = OmegaConf.create(dict(model=dict(teacher=dict(checkpoint=str(path))), notes=[str(path)]))
        return config_hash(cfg)

    assert of_weights(weights[0]) == of_weights(weights[1]) != of_weights(weights[2])


def test_the_hash_of_a_yaml_config_counts_its_text(tmp_path):
    def of_text(name, text):
        (tmp_path / name).write_text(text)
        return config_hash(load_arm(["--config-file", str(tmp_path / name)]))

    text = "{{DATASETS: {{TRAIN: [shapes_train], TEST: [shapes_val]}}, SOLVER: {{MAX_ITER: {}}}}}"
    first = of_text("a.yaml", text.format(5))
    assert of_text("b.yaml", text.format(5)) == first != of_text("c.yaml", text.format(6))


def test_a_folder_may_have_any_letters():
    cfg = apply_overrides(OmegaConf.create({"folder": ""}), [f"folder={quoted(Path('/home/müller/x y'))}"])
    assert cfg.folder == "/home/müller/x y"


def test_arms_of_different_test_data_are_refused():
    words = ["--config-file", ALONE]
    compare.require_equal_tests(parse_arms("alone", ["same="]), words)
    other = parse_arms("alone", ["other=dataloader.test.dataset.names=bccd_val"])
    with pytest.raises(UserError, match="arm other is evaluated on bccd_val, arm alone on shapes_val"):
        compare.require_equal_tests(other, words)


def test_an_output_that_cannot_be_a_folder_is_named(tmp_path):
    (tmp_path / "file").touch()
    args, shared = compare.parse_command_line(
        ["--config-file", ALONE, "--methods", "alone", "--output", str(tmp_path / "file/out")]
    )
    with pytest.raises(UserError, match="--output: .*file/out cannot be a folder"):
        compare.compare(args, shared)


def test_words_that_the_report_of_a_comparison_does_not_read_are_refused(tmp_path, monkeypatch, capsys):
    summary = dict(seeds=[1], arms={}, command=[], headline={})
    (tmp_path / "compare.json").write_text(json.dumps(summary))
    monkeypatch.setattr("sys.argv", ["report.py", str(tmp_path), "--picturse=here"])
    with pytest.raises(SystemExit) as ended:
        report.main()
    assert (
        ended.value.code == 2
        and "--picturse=here: the report of a comparison takes no words" in capsys.readouterr().err
    )
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize(("given", "sampled"), [(None, {"bbox", "segm"}), (("bbox",), {"bbox"})])
def test_boxes_and_masks_have_intervals_over_images(given, sampled, tmp_path, monkeypatch):
    evaluator = COCOEvaluator.__new__(COCOEvaluator)
    evaluator._tasks, evaluator._coco_api = given, SimpleNamespace(getImgIds=lambda: [1, 2])
    found = tmp_path / "alone/seed_1/inference/coco_instances_results.json"
    found.parent.mkdir(parents=True)
    found.touch()
    monkeypatch.setattr(compare_results, "instantiate_evaluator", lambda node: [evaluator])
    monkeypatch.setattr(compare_results, "resampled_ap", lambda evaluator, file, task, counts: np.zeros(3))
    results = {"alone": {task: {} for task in ("bbox", "segm", "sem_seg")}}
    assert set(image_samples(tmp_path, load_arm(["--config-file", ALONE]), results, [1])) == sampled


@pytest.mark.slow
def test_the_cost_names_the_device_that_it_was_measured_on(compare, comparison, tmp_path):
    other = "a GPU of another machine"
    here = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    out = tmp_path / "out"
    shutil.copytree(comparison, out)
    measured = json.loads((out / "alone" / "cost.json").read_text())
    (out / "alone" / "cost.json").write_text(json.dumps(measured | {"device": other}))
    compare.finish(compare.words(out))
    assert json.loads((out / "compare.json").read_text())["cost_measured_on"] == sorted([other, here])
    assert (
        f"measured before training on {', '.join(sorted([other, here]))}, 1 thread" in (out / "compare.md").read_text()
    )
