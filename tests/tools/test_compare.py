"""compare.py: equal starts, one table however it was reached, and numbers that are what they say."""

import csv
import json
import random
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from compare import plan_teacher
from compare_arms import parse_arms
from compare_results import headline, read_results, read_tasks
from compare_table import tables

from diffkd_d2.errors import UserError

SLOW = pytest.mark.slow


def summary_of(output: Path) -> dict:
    """Return compare.json without what the clock decides."""
    summary = json.loads((output / "compare.json").read_text())
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
    costs = {arm: content["cost"] for arm, content in summary["arms"].items()}
    assert costs["alone"]["distiller_parameters"] == 0 < costs["diffkd"]["distiller_parameters"]
    assert costs["diffkd"]["memory_over_floor"] > 1.05 > costs["alone"]["memory_over_floor"]


@SLOW
def test_finished_runs_are_kept(compare, comparison):
    before = {path: path.stat().st_mtime_ns for path in comparison.glob("*/seed_*/model_final.pth")}
    assert len(before) == 6
    assert "started" not in compare.finish(compare.words(comparison))
    assert before == {path: path.stat().st_mtime_ns for path in before}
    output = compare.finish(compare.words(comparison, "optimizer.lr=0.5"), code=2)
    assert "was made by" in output and "Traceback" not in output


def kill_and_finish(compare, output: Path, kills: int) -> None:
    """Kill compare.py at random moments of the training, then let it finish, two runs side by side."""
    rng, words = random.Random(16), compare.words(output, "--jobs", "2")
    for _ in range(kills):
        process = compare.start(words)
        while "started alone" not in process.stdout.readline():
            assert process.poll() is None, process.stderr.read()
        time.sleep(rng.uniform(2, 12))
        process.send_signal(signal.SIGKILL)
        process.communicate()
    compare.finish(words)


@SLOW
def test_killed_once_with_two_jobs(compare, comparison, tmp_path):
    kill_and_finish(compare, tmp_path / "out", kills=1)
    assert summary_of(tmp_path / "out") == summary_of(comparison)


@pytest.mark.faults
def test_killed_three_times(compare, comparison, tmp_path):
    kill_and_finish(compare, tmp_path / "out", kills=3)
    assert summary_of(tmp_path / "out") == summary_of(comparison)


@pytest.mark.parametrize(
    ("methods", "own", "line"),
    [
        ("", [], "nothing to compare"),
        ("alone", ["strong"], "NAME=OVERRIDES"),
        ("alone,alone", [], "cannot be an arm"),
        ("alone", ["../up="], "cannot be an arm"),
        ("alone", ["teacher="], "cannot be an arm"),
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
        args = SimpleNamespace(output=tmp_path)
        return [run.words for run in plan_teacher(arms, ["--config-file", *shared], args)]

    kd = "configs/shapes/diffkd_retinanet_r18.py"
    evaluated = ["--config-file", kd, "--eval-teacher"]
    for arms in (parse_arms("alone,mimic", []), parse_arms("cwd", []), parse_arms("", ["own=train.clip_norm=1"])):
        assert words(arms, kd) == [evaluated]
    alone, teacher = "configs/shapes/alone_retinanet_r18.py", "--teacher configs/shapes/teacher_retinanet_r50.py"
    assert words(parse_arms("alone", []), alone) == []
    arms = parse_arms("alone", ["first=" + teacher, "second=" + teacher])
    assert words(arms, alone) == [["--config-file", alone, *teacher.split(), "--eval-teacher"]]


def test_tasks_of_several_test_sets_are_kept_apart(tmp_path):
    path = tmp_path / "results.json"
    path.write_text(json.dumps({"val": {"bbox": {"AP": 1.0}}, "test": {"bbox": {"AP": None}}}))
    assert read_tasks(path) == {"val/bbox": {"AP": 1.0}, "test/bbox": {"AP": None}}
    assert headline("val/bbox_ema", ["AP50", "AP"]) == "AP"


def test_a_run_that_found_nothing_counts_as_zero(tmp_path):
    found = {"a": {"AP": 12.0, "APl": None}, "b": {"AP": None, "APl": None}}
    for arm, values in found.items():
        (tmp_path / arm / "seed_1").mkdir(parents=True)
        (tmp_path / arm / "seed_1" / "results.json").write_text(json.dumps({"bbox": values}))
    results = read_results(tmp_path, ["a", "b"], [1])
    assert results == {"a": {"bbox": {"AP": {"1": 12.0}}}, "b": {"bbox": {"AP": {"1": 0.0}}}}
