"""The demo, cut short: everything that it promises to leave behind."""

import json
import os

import cv2
import demo
import pytest
from quick_start import run_program


@pytest.mark.slow
def test_demo_writes_table_report_and_pictures(tiny_datasets, tmp_path):
    out = tmp_path / "demo"
    env = dict(os.environ, DETECTRON2_DATASETS=str(tiny_datasets), OMP_NUM_THREADS="1")
    run = run_program(["tools/demo.py", "--iterations", "3", "--output", str(out)], env)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    summary = json.loads((out / "compare.json").read_text())
    assert set(summary["arms"]) == {"alone", "diffkd"} and summary["teacher"]["bbox"]["AP"] > 5
    for arm in summary["arms"]:
        assert (out / arm / "seed_1" / "model_final.pth").is_file()
    assert cv2.imread(str(out / "pictures" / "detections.jpeg")).shape[1] > 4 * 360
    assert "<html" in (out / "report.html").read_text()
    assert "| diffkd" in run.stdout and "report.html" in run.stdout


def test_a_program_that_fails_ends_the_demo_with_its_code():
    with pytest.raises(SystemExit) as end:
        demo.run("-c", "import sys; sys.exit(3)")
    assert end.value.code == 3
