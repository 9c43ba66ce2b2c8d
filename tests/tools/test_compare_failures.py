"""compare.py where an arm fails: the others are finished, and the tables say what is missing."""

import json
import shutil

import compare
import compare_runs
import pytest
import report
from compare_runs import Run, run_all
from compare_table import failure_lines, main_table, parts_table
from comparing import DIFFKD, WEIGHTLESS
from report_runs import Group, read_group

from diffkd_d2.errors import UserError


@pytest.mark.slow
def test_an_arm_that_fails_leaves_the_others_their_tables(compare, comparison, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(comparison, out)
    diverging = "diverging=optimizer.lr=1e38 train.max_skipped=1"
    printed = compare.finish(compare.words(out, arms=[DIFFKD, diverging, WEIGHTLESS]), code=2)
    assert "arm diverging failed: diverging seed 1 ended with code 2" in printed and "Traceback" not in printed
    assert printed.splitlines()[-1].startswith("error: failed: diverging; diverging seed 1 ended with code 2")
    assert not (out / "diverging/seed_2/log.txt").exists()
    summary = json.loads((out / "compare.json").read_text())
    (failure,) = summary.pop("failures").values()
    expected = json.loads((comparison / "compare.json").read_text())
    assert expected.pop("failures") == {} and summary == expected
    for text in ((out / "compare.md").read_text(), "\n".join(failure_lines({"failures": {"diverging": failure}}))):
        assert f"diverging is NOT in the tables: {failure}" in text


def test_the_runs_of_other_arms_go_on_after_a_failure(tmp_path, monkeypatch, capsys):
    script = "import pathlib, sys\nif 'bad' in sys.argv: sys.exit('error: too bad')\npathlib.Path({!r}, sys.argv[1])"
    (tmp_path / "train_net.py").write_text(script.format(str(tmp_path)) + ".joinpath('results.json').touch()\n")
    monkeypatch.setattr(compare_runs, "ROOT", tmp_path)
    monkeypatch.setattr(compare_runs, "read_cost", lambda folder: {"step_seconds": 1.0})
    runs = [
        Run(arm, f"seed {seed}", tmp_path / f"{arm}{seed}", [f"{arm}{seed}", arm], [], 1, 1)
        for seed in (1, 2)
        for arm in ("good", "bad", "fair")
    ]
    failures = run_all(runs, 1, 1)
    assert list(failures) == ["bad"] and str(failures["bad"]).startswith("bad seed 1 ended with code 1: too bad")
    assert [run.name for run in runs if run.results.exists()] == [
        "good seed 1",
        "fair seed 1",
        "good seed 2",
        "fair seed 2",
    ]
    assert "started bad seed 2" not in capsys.readouterr().out


@pytest.mark.slow
def test_the_report_names_arms_that_failed(comparison, tmp_path, monkeypatch):
    monkeypatch.setattr(report, "predictions", lambda group: [])  # their images are not in this process's datasets
    summary = json.loads((comparison / "compare.json").read_text()) | {"failures": {"bad": "too <bad>"}}
    summary["arms"] = {"alone": summary["arms"]["alone"]}
    report.write_report(tmp_path / "report.html", [Group(comparison, summary, read_group(comparison, []).members[:1])])
    assert "<p>bad is NOT in the tables: too &lt;bad&gt;</p>" in (tmp_path / "report.html").read_text()


def test_a_teacher_that_found_nothing_has_zero():
    summary = {"differences": [], "seeds": [], "arms": {}, "teacher": {"bbox": {"AP": None}}}
    assert main_table(summary, "bbox", "AP").rows[0][:2] == ["teacher", "0.0"]
    assert main_table(summary, "segm", "AP").rows[0][:2] == ["teacher", ""]
    assert parts_table(summary, "bbox", "by class", ["AP", "AP-a"]).rows == [["teacher", "0.0", ""]]


def test_alone_longer_fails_with_alone(tmp_path, monkeypatch):
    written = {}

    def write(output, summary):
        (output / "compare.md").touch()
        written.update(summary)

    def run(runs, jobs, threads):
        return {} if not runs else {"alone": UserError("bad luck")}

    stubs = dict(plan=lambda arm, *_: [Run(arm.name, "seed 1", tmp_path / arm.name, [], [], 1, 1)], run_all=run)
    stubs |= dict(plan_teacher=lambda *_: [], measure_cost=lambda *_: None, write_tables=write)
    stubs["summarise"] = lambda *given: {"arms": [arm.name for arm in given[1]], "failures": given[-1]}
    for name, stub in stubs.items():
        monkeypatch.setattr(compare, name, stub)
    words = ["--config-file", "configs/shapes/alone_retinanet_r18.py", "--methods", "alone,alone-longer"]
    args, shared = compare.parse_command_line([*words, "--arm", "own=", "--seeds", "1", "--output", str(tmp_path)])
    with pytest.raises(UserError, match="failed: alone, alone-longer; bad luck"):
        compare.compare(args, shared)
    assert written["arms"] == ["own"] and list(written["failures"]) == ["alone", "alone-longer"]
