"""compare.py: equal starts, one table however it was reached, and numbers that are what they say."""

import csv
import json
import os
import random
import shutil
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from compare import longer_arm, parse_command_line, plan, plan_teacher
from compare_arms import choose_last_test_set, load_arm, parse_arms
from compare_results import average_task, headline, predictions_of, read_results, read_tasks
from compare_runs import Run, environment_of
from compare_table import tables
from comparing import DIFFKD, TINY
from detectron2.config import LazyConfig, instantiate
from omegaconf import OmegaConf

from diffkd_d2.errors import UserError

SLOW = pytest.mark.slow


def summary_of(output: Path, without: str = "") -> dict:
    """Return compare.json without what the clock decides, and without an arm."""
    summary = json.loads((output / "compare.json").read_text())
    summary["arms"].pop(without, None)
    summary["differences"] = [row for row in summary["differences"] if row["arm"] != without]
    for arm in summary["arms"].values():
        kept = ("student_parameters", "distiller_parameters", "student_hash", "memory_over_floor")
        arm["cost"] = {k: v for k, v in arm["cost"].items() if k in kept}
    return summary


def metrics_of(output: Path, arm: str, seed: int, name: str) -> list[float]:
    lines = map(json.loads, (output / arm / f"seed_{seed}" / "metrics.json").open())
    return [line[name] for line in lines if name in line]


@SLOW
def test_arms_of_a_seed_see_the_same_weights_and_images(comparison):
    for seed in (1, 2):
        alone, weightless, diffkd = (
            metrics_of(comparison, a, seed, "loss_cls") for a in ("alone", "weightless", "diffkd")
        )
        assert len(alone) == 6 and alone == weightless
        assert diffkd[0] == alone[0] and diffkd != alone
    assert metrics_of(comparison, "alone", 1, "loss_cls") != metrics_of(comparison, "alone", 2, "loss_cls")
    assert summary_of(comparison)["same_start"]


@SLOW
def test_tables_and_csv_equal_the_results_of_the_runs(comparison):
    summary = json.loads((comparison / "compare.json").read_text())
    rows = list(csv.DictReader((comparison / "results.csv").open()))
    for arm in ("alone", "diffkd", "weightless"):
        for seed in ("1", "2"):
            ap = json.loads((comparison / arm / f"seed_{seed}" / "results.json").read_text())["bbox"]["AP"] or 0.0
            assert summary["arms"][arm]["results"]["bbox"]["AP"]["seeds"][seed] == ap
            found = [r for r in rows if (r["arm"], r["seed"], r["task"], r["metric"]) == (arm, seed, "bbox", "AP")]
            assert [float(r["value"]) for r in found] == [ap]
    teacher = json.loads((comparison / "teacher" / "results_teacher.json").read_text())["bbox"]["AP"]
    assert teacher > 5 and tables(summary)[0].rows[0][:2] == ["teacher", f"{teacher:.1f}"]
    text = (comparison / "compare.md").read_text()
    assert all(cell in text for table in tables(summary) for row in table.rows for cell in row)
    device = "CPU" if not torch.cuda.is_available() else torch.cuda.get_device_name()
    assert summary["trained_on"] == [device] and f"trained on {device}." in text
    assert summary["cost_measured_on"] == [device] and f"measured before training on {device}, 1 thread" in text
    costs = {arm: content["cost"] for arm, content in summary["arms"].items()}
    assert costs["alone"]["distiller_parameters"] == 0 < costs["diffkd"]["distiller_parameters"]
    assert costs["diffkd"]["memory_over_floor"] > 1.05 > costs["alone"]["memory_over_floor"]


@SLOW
def test_finished_runs_are_kept(compare, comparison):
    before = {path: path.stat().st_mtime_ns for path in comparison.glob("*/seed_*/model_final.pth")}
    assert len(before) == 6
    assert "started" not in compare.finish(compare.words(comparison))
    assert before == {path: path.stat().st_mtime_ns for path in before}
    costs = {path: path.read_text() for path in comparison.glob("*/cost*.json")}
    output = compare.finish(compare.words(comparison, "optimizer.lr=0.5"), code=2)
    assert "was made by" in output and "measuring" not in output and "Traceback" not in output
    assert len(costs) == 6 and costs == {path: path.read_text() for path in costs}


def kill_and_finish(compare, words: list[str], kills: int, log: Path) -> None:
    """Kill compare.py at random moments of the training, then let it finish."""
    rng = random.Random(16)
    for _ in range(kills):
        log.write_text("")
        process = compare.start(words, log)
        while "started" not in log.read_text():
            assert process.poll() is None, log.read_text()
            time.sleep(0.1)
        time.sleep(rng.uniform(2, 12))
        os.kill(process.pid, signal.SIGKILL)  # its runs stay at work
        process.wait()
    compare.finish(words)


@SLOW
def test_killed_once_with_two_jobs(compare, comparison, tmp_path):
    out = tmp_path / "out"
    for arm in ("alone", "diffkd"):  # what a step costs is measured before the training
        (out / arm).mkdir(parents=True)
        for file in comparison.glob(f"{arm}/cost*.json"):
            shutil.copy(file, out / arm)
    kill_and_finish(compare, compare.words(out, "--jobs", "2", arms=[DIFFKD]), kills=1, log=tmp_path / "log")
    assert summary_of(out) == summary_of(comparison, without="weightless")


@pytest.mark.faults
def test_killed_three_times(compare, comparison, tmp_path):
    kill_and_finish(compare, compare.words(tmp_path / "out", "--jobs", "2"), kills=3, log=tmp_path / "log")
    assert summary_of(tmp_path / "out") == summary_of(comparison)


@pytest.mark.parametrize(
    ("methods", "own", "line"),
    [
        ("", [], "nothing to compare"),
        ("alone", ["strong"], "NAME=OVERRIDES"),
        ("alone,alone", [], "two arms have the name 'alone'"),
        ("alone", ["../up="], "'../up' cannot be"),
        ("alone", ["teacher="], "teacher has a meaning of its own"),
        ("", ["alone="], "alone has a meaning of its own"),
        ("alone", ["alone-longer=train.max_iter=9"], "alone-longer has a meaning of its own"),
        ("alone", ["x=distill.weight='5"], "x=distill.weight='5': No closing quotation"),
        ("alone", ["x=train.seed=3"], "train.seed=3: compare.py sets it itself"),
        ("alone", ["x=+train.output_dir=o"], "compare.py sets it itself"),
        ("alone", ["x=SEED 3"], "SEED: compare.py sets it itself"),
        ("alone", ["x=--dry-run"], "--dry-run is not for compare.py"),
        ("alone", ["x=--resume"], "--resume is not for compare.py"),
        ("alone", ["x=--dry"], "--dry is not for compare.py"),
    ],
)
def test_invalid_arms_are_refused(methods, own, line):
    with pytest.raises(UserError, match=line):
        parse_arms(methods, own)


def test_arms_are_words_of_train_net():
    arms = parse_arms("alone,mimic", ["strong=train.clip_norm=1 model.points.0.weight=9"])
    assert [arm.name for arm in arms] == ["alone", "mimic", "strong"]
    assert [list(arm.words) for arm in arms] == [
        ["model.points=[]"],
        ["--method", "mimic"],
        ["train.clip_norm=1", "model.points.0.weight=9"],
    ]


def test_the_teacher_does_not_depend_on_the_arms(tmp_path):
    def words(arms, *shared):
        args = SimpleNamespace(output=tmp_path, threads=1)
        return [run.words for run in plan_teacher(arms, ["--config-file", *shared], args)]

    kd = "configs/shapes/diffkd_retinanet_r18.py"
    evaluated = ["--config-file", kd, "--eval-teacher"]
    for arms in (parse_arms("alone,mimic", []), parse_arms("cwd", []), parse_arms("", ["own=train.clip_norm=1"])):
        assert words(arms, kd) == [evaluated]
    alone, teacher = "configs/shapes/alone_retinanet_r18.py", "--teacher configs/shapes/teacher_retinanet_r50.py"
    assert words(parse_arms("alone", []), alone) == []
    arms = parse_arms("alone", ["first=" + teacher, "second=" + teacher])
    assert words(arms, alone) == [["--config-file", alone, *teacher.split(), "--eval-teacher"]]


def test_the_longer_arm_takes_as_long_as_the_costliest_run(tmp_path):
    config = ["--config-file", "configs/shapes/diffkd_retinanet_r18.py", "train.max_iter=1000"]
    arms = parse_arms("alone", ["slow=train.clip_norm=1", "long=train.max_iter=3000"])
    for name, seconds in (("alone", 1.0), ("slow", 2.0), ("long", 1.1)):
        (tmp_path / name / "seed_1").mkdir(parents=True)
        (tmp_path / name / "seed_1" / "metrics.json").write_text(json.dumps({"time": seconds}) + "\n")
    args = SimpleNamespace(output=tmp_path, seeds=[1])
    assert longer_arm(arms, config, args).words == ("model.points=[]", "train.max_iter=3300")
    assert json.loads((tmp_path / "alone-longer" / "iterations.json").read_text())["as_long_as"] == "long"


def test_damaged_records_are_named(tmp_path):
    run = Run("a", "seed 1", tmp_path / "a", [], [], 1, 1)
    run.claim()
    (run.folder / "words.json").write_text("{")
    with pytest.raises(UserError, match=r"words\.json is damaged"):
        run.check_folder()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--seeds", "-1"], "--seeds: -1 is below 0"),
        (["--seeds", "1,2,1"], "--seeds names a seed twice"),
        (["--jobs", "0"], "--jobs: 0 is below 1"),
        (["SEED", "5"], "SEED: compare.py sets it itself"),
        (["--dry-run"], "--dry-run is not for compare.py"),
        (["--output", __file__], "test_compare.py is not a folder"),
    ],
)
def test_invalid_words_are_refused(words, line):
    with pytest.raises(UserError, match=line):
        parse_command_line(words)


def test_the_baseline_of_a_pair_by_flags_keeps_its_teacher():
    flags = ["--config-file", "configs/shapes/alone_retinanet_r18.py", "--teacher-weights", "x.pth"]
    flags += ["--teacher", "configs/shapes/teacher_retinanet_r50.py", "distill.levels=[p3]"]
    alone, mimic = (load_arm([*flags, *arm.words]) for arm in parse_arms("alone,mimic", []))
    assert alone.model.points == [] and alone.model.teacher == mimic.model.teacher
    assert mimic.model.points.levels == ["p3"]


def test_the_last_of_several_test_sets_is_kept():
    listed = dict(test=[dict(dataset_name="a"), dict(dataset_name="b")], evaluator=[dict(x=1), dict(x=2)])
    cfg = OmegaConf.create(dict(dataloader=listed))
    assert choose_last_test_set(cfg) == "b/"
    assert cfg.dataloader == dict(test=dict(dataset_name="b"), evaluator=dict(x=2))


def test_a_method_without_a_teacher_is_refused(tmp_path):
    args = SimpleNamespace(output=tmp_path, seeds=[1], threads=1)
    alone = ["--config-file", "configs/shapes/alone_retinanet_r18.py"]
    for arm in parse_arms("mimic", ["x=--method pkd", "y=--method=pkd"]):
        with pytest.raises(UserError, match=f"arm {arm.name} would be the student alone"):
            plan(arm, alone, args)
    (baseline, shares_it) = parse_arms("alone", ["z="])
    assert plan(baseline, [*alone, "--method", "pkd"], args)
    with pytest.raises(UserError, match="arm z would be the student alone"):
        plan(shares_it, [*alone, "--method", "pkd"], args)


@SLOW
def test_a_teacher_of_other_classes_is_left_out_of_the_tables(compare, tmp_path):
    teacher = LazyConfig.load("configs/bccd/teacher_retinanet_r50.py").model.student
    torch.save({"model": instantiate(teacher).state_dict()}, tmp_path / "teacher.pth")
    words = ["tests/helpers/forked_compare.py", "--config-file", "configs/shapes/alone_retinanet_r18.py"]
    words += ["--teacher", "configs/bccd/teacher_retinanet_r50.py", "--teacher-weights", str(tmp_path / "teacher.pth")]
    words += ["--methods", "alone,mimic", "--seeds", "1", "--output", str(tmp_path / "out"), "distill.levels=[p3]"]
    printed = compare.finish([*words, *TINY])
    assert "the teacher is not in the tables: teacher ended with code 2: " in printed and "3 classes" in printed
    summary = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert summary["teacher"] is None and list(summary["arms"]) == ["alone", "mimic"]
    assert "| teacher" not in (tmp_path / "out" / "compare.md").read_text()


def test_a_config_without_test_set_is_refused(tmp_path):
    words = ["--config-file", "configs/shapes/alone_retinanet_r18.py", "dataloader.evaluator=null"]
    with pytest.raises(UserError, match="arm alone has no test set"):
        plan(parse_arms("alone", [])[0], words, SimpleNamespace(output=tmp_path, seeds=[1], threads=1))


def test_runs_with_other_words_or_threads_are_refused(tmp_path):
    def run(words=("a",), threads=1):
        return Run("alone", "seed 1", tmp_path / "run", list(words), [], 3, threads)

    run().claim()
    run().claim()
    for other in (run(words=["b"]), run(threads=2)):
        with pytest.raises(UserError, match="was made by .*, not by"):
            other.claim()


def test_jobs_share_the_gpus_that_the_user_names(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
    assert [environment_of(1, slot)["CUDA_VISIBLE_DEVICES"] for slot in range(3)] == ["4", "5", "4"]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert [environment_of(1, slot)["CUDA_VISIBLE_DEVICES"] for slot in range(3)] == ["0", "1", "0"]


def test_predictions_may_lie_in_a_folder_of_the_evaluators_own(tmp_path):
    assert predictions_of(tmp_path, "a.json") == tmp_path / "inference/a.json"
    for i, folder in enumerate(("inference", "inference/set")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.json").touch()
        os.utime(tmp_path / folder / "a.json", (i, i))
    assert predictions_of(tmp_path, "a.json") == tmp_path / "inference/set/a.json"


def test_tasks_of_several_test_sets_are_kept_apart(tmp_path):
    path = tmp_path / "results.json"
    path.write_text(json.dumps({"val": {"bbox": {"AP": 1.0}}, "test": {"bbox": {"AP": None}}}))
    assert read_tasks(path) == {"val/bbox": {"AP": 1.0}, "test/bbox": {"AP": None}}
    assert headline("val/bbox_ema", ["AP50", "AP"]) == "AP"
    assert (average_task("", "bbox"), average_task("val/", "bbox")) == ("bbox_ema", "val_ema/bbox")


def test_a_run_that_found_nothing_counts_as_zero(tmp_path):
    found = {"a": {"AP": 12.0, "APl": None}, "b": {"AP": None, "APl": None}}
    for arm, values in found.items():
        (tmp_path / arm / "seed_1").mkdir(parents=True)
        (tmp_path / arm / "seed_1" / "results.json").write_text(json.dumps({"bbox": values}))
    results = read_results(tmp_path, ["a", "b"], [1])
    assert results == {"a": {"bbox": {"AP": {"1": 12.0}}}, "b": {"bbox": {"AP": {"1": 0.0}}}}
