"""The benchmarks run and report what they say; their times are not looked at."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from benchmark import count_calls

pytestmark = pytest.mark.slow

REPO = Path(__file__).resolve().parents[2]
ALONE = [sys.executable]
TWO = [*ALONE, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def benchmark(config: str, *words: str, launcher: list[str] = ALONE) -> subprocess.CompletedProcess:
    command = [
        *launcher,
        "tools/benchmark.py",
        "--config-file",
        f"configs/shapes/{config}.py",
        "--device",
        "cpu",
        *words,
    ]
    return subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("launcher", [ALONE, TWO], ids=["one", "two"])
def test_the_report_has_every_part(launcher, tmp_path):
    words = ["--size", "64x96", "--batch", "2", "--repeats", "2", "--json", str(tmp_path / "out.json")]
    run = benchmark("diffkd_retinanet_r18", *words, launcher=launcher)
    assert run.returncode == 0, run.stderr[-2000:]
    assert run.stdout.count("ratio_to_floor  ") == 3  # once, whatever the number of processes; of mimic; of memory
    report = json.loads((tmp_path / "out.json").read_text())
    assert report["processes"] == (1 if launcher is ALONE else 2)
    names = {"student_step", "teacher_forward", "floor", "mimic_step", "distill_step", "one_sampling_step"}
    assert names <= set(report["medians"]) and min(report["medians"].values()) > 0
    assert report["ratio_to_floor"] > 0
    assert report["memory"]["distill_step"] > report["memory"]["mimic_step"] > 0
    calls = report["calls"]
    assert calls["distill_step"] > calls["mimic_step"] > calls["floor"] > 0
    assert report["memory_ratio_to_floor"] == report["memory"]["distill_step"] / report["memory"]["floor"]


def test_a_config_without_points_has_no_ratio():
    run = benchmark("alone_retinanet_r18")
    assert run.returncode == 2 and "distils nothing" in run.stderr


def test_operator_calls_exclude_views():
    assert count_calls(lambda: torch.ones(2, 3).t()[0].mul(2).add_(1), "cpu", None) == 3
