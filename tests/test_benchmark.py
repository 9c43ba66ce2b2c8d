"""The benchmark runs and reports what it says; its times are not looked at."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

REPO = Path(__file__).resolve().parent.parent


def test_the_report_has_every_part(tmp_path):
    command = [sys.executable, "tools/benchmark.py", "--config-file", "configs/shapes/diffkd_r18.py", "--device", "cpu"]
    command += ["--size", "64x96", "--batch", "2", "--repeats", "2", "--json", str(tmp_path / "out.json")]
    run = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-2000:]
    report = json.loads((tmp_path / "out.json").read_text())
    names = {"student_step", "teacher_forward", "floor", "mimic_step", "distill_step", "one_sampling_step"}
    assert names <= set(report["medians"]) and min(report["medians"].values()) > 0
    assert report["ratio_to_floor"] > 0
    for pair in report["distillers"].values():
        assert 0 < 0.8 * pair["formula"] <= pair["counted"] < 2.5 * pair["formula"]  # it is meant for large maps
    assert report["memory"]["distill_step"] > report["memory"]["mimic_step"] > 0
    assert report["memory_ratio_to_floor"] == report["memory"]["distill_step"] / report["memory"]["floor"]


def test_a_config_without_points_has_no_ratio():
    command = [
        sys.executable,
        "tools/benchmark.py",
        "--config-file",
        "configs/shapes/student_r18.py",
        "--device",
        "cpu",
    ]
    run = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=False)
    assert run.returncode == 2 and "distils nothing" in run.stderr
