"""The benchmarks run and report what they say; their times are not looked at."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

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
    assert run.stdout.count("ratio_to_floor   ") == 3  # once, whatever the number of processes; of mimic; of memory
    report = json.loads((tmp_path / "out.json").read_text())
    assert report["processes"] == (1 if launcher is ALONE else 2)
    names = {"student_step", "teacher_forward", "floor", "mimic_step", "distill_step", "one_sampling_step"}
    assert names <= set(report["medians"]) and min(report["medians"].values()) > 0
    assert report["ratio_to_floor"] > 0
    for pair in report["distillers"].values():
        assert 0 < 0.8 * pair["formula"] <= pair["counted"] < 2.5 * pair["formula"]  # it is meant for large maps
    assert report["memory"]["distill_step"] > report["memory"]["mimic_step"] > 0
    assert report["memory_ratio_to_floor"] == report["memory"]["distill_step"] / report["memory"]["floor"]


def test_a_config_without_points_has_no_ratio():
    run = benchmark("alone_retinanet_r18")
    assert run.returncode == 2 and "distils nothing" in run.stderr


def test_the_distiller_beside_its_transcription(tmp_path):
    command = [*ALONE, "tools/distiller_speed.py", "--device", "cpu", "--repeats", "2"]
    words = ["--size", "160x192", "--json", str(tmp_path / "out.json")]
    run = subprocess.run([*command, *words], cwd=REPO, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-2000:]
    report = json.loads((tmp_path / "out.json").read_text())
    assert {"reference", "ours", "ours, recompute", "latent 64, K = 1"} <= set(report["medians"])
    assert report["speed_over_reference"] > 0
    run = subprocess.run([*command, "--size", "64x64"], cwd=REPO, capture_output=True, text=True, check=False)
    assert run.returncode == 2 and "two positions on P6" in run.stderr and "Traceback" not in run.stderr
