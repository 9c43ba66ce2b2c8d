"""The demo, cut short: everything that it promises to leave behind."""

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

pytestmark = pytest.mark.slow

REPO = Path(__file__).resolve().parents[2]


def test_the_demo_leaves_a_summary_a_picture_and_three_output_folders(small_datasets, tmp_path):
    out = tmp_path / "demo"
    command = [sys.executable, "tools/demo.py", "--iterations", "3", "--output", str(out)]
    env = dict(os.environ, DETECTRON2_DATASETS=str(small_datasets), OMP_NUM_THREADS="1")
    run = subprocess.run(command, cwd=REPO, env=env, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-3000:]
    summary = json.loads((out / "summary.json").read_text())
    assert set(summary) == {"teacher", "student", "diffkd", "minutes"}
    assert summary["teacher"] > 5
    assert cv2.imread(str(out / "detections.png")).shape[1] == 3 * 128 * 3
    assert (out / "teacher" / "results_teacher.json").is_file()
    for name in ("student", "diffkd"):
        assert (out / name / "model_final.pth").is_file() and (out / name / "results.json").is_file()
    assert "with DiffKD" in run.stdout and "detections.png" in run.stdout
