"""The benchmark runs and reports what it says; its times are not looked at."""

import json
import os
import subprocess
import sys

import pytest
import torch
from benchmark import chosen_methods, main
from benchmark_jobs import OWN, build, diffkd_parts, parts, steps
from benchmark_meters import count_calls, measure, peak_memory
from detectors import FASTER, RETINANET, batch
from detectors import build as detector
from detectron2.config import LazyCall as L
from omegaconf import OmegaConf
from quick_start import run_program

from diffkd_d2 import recipes
from diffkd_d2.distillers import KD, Pairwise, Review, ScoreMimic
from diffkd_d2.errors import UserError
from diffkd_d2.meta_arch.distill_point import DistillPoint
from diffkd_d2.meta_arch.distilled_model import DistilledModel
from diffkd_d2.meta_arch.roi_branch import RoiBranch
from diffkd_d2.modeling.teacher import load_teacher


def benchmark(config: str, *words: str, processes: int = 1) -> subprocess.CompletedProcess:
    command = ["tools/benchmark.py", "--config-file", f"configs/shapes/{config}.py", "--device", "cpu", *words]
    launcher = ["tests/helpers/forked_torchrun.py", str(processes)] if processes > 1 else []
    return run_program([*launcher, *command], dict(os.environ))


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_the_report_has_every_part(processes, tmp_path):
    words = ["--size", "64x96", "--batch", "2", "--repeats", "2", "--json", str(tmp_path / "out.json")]
    run = benchmark("diffkd_retinanet_r18", *words, processes=processes)
    assert run.returncode == 0, run.stderr[-2000:]
    assert run.stdout.count("memory_ratio_to_floor") == 1  # once, whatever the number of processes
    report = json.loads((tmp_path / "out.json").read_text())
    assert report["processes"] == processes
    names = {"student_step", "teacher_forward", "floor", "mimic_step", "mimic_points", "distill_step"}
    assert names | {"one_sampling_step"} <= set(report["medians"]) and min(report["medians"].values()) > 0
    assert report["ratio_to_floor"].keys() == report["points_to_floor"].keys() == {"distill", "mimic"}
    memory, calls = report["memory"], report["calls"]
    assert memory["distill"] > memory["mimic"] > 0
    assert calls["distill"] > calls["mimic"] > calls["floor"] > 0
    assert report["memory_ratio_to_floor"]["distill"] == memory["distill"] / memory["floor"]


def pair_with(points: list, of: str) -> OmegaConf:
    model = L(detector)(config=of)
    teacher = L(load_teacher)(model=L(detector)(config=of), weights="")
    return OmegaConf.create(dict(model=L(DistilledModel)(student=model, teacher=teacher, points=points)))


def on_backbone(distiller, name: str, **more):
    return L(DistillPoint)(student="backbone", teacher="backbone", distiller=distiller, name=name, **more)


LEVELS = on_backbone(
    L(Review)(student_channels=32, teacher_channels=32, num_levels=2, inner_channels=8), "review", levels=("p3", "p4")
)
NO_CHANNELS = on_backbone(L(Pairwise)(), "skd", key="p3")
SCORES = on_backbone(L(ScoreMimic)(student_channels=32, teacher_channels=32), "frs", key="p3", scores=("head", (0, 0)))
ROI = L(DistillPoint)(
    student="roi_heads.box_predictor", teacher="backbone", distiller=L(KD)(), key=0, roi=L(RoiBranch)(), name="roi"
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("of", "points", "refused"),
    [
        (RETINANET, [LEVELS, NO_CHANNELS, SCORES], {"dist", "dkd", "kd", "lskd"}),
        (FASTER, [ROI], {"qfkd"}),
    ],
)
def test_every_method_and_every_kind_of_point_is_measured(of, points, refused):
    models, left_out = build(pair_with(points, of), recipes.names(), "cpu")
    assert left_out.keys() == refused and {OWN, *recipes.names()} - refused == models.keys()
    inputs = batch()
    assert not diffkd_parts(models[OWN], inputs) and diffkd_parts(models["diffkd"], inputs)
    work = {**steps(models, inputs, compiled=False), **parts(models, inputs)}
    seconds = measure(work, 1, "cpu", None, lambda: 0.0)
    assert {f"{name}_{job}" for name in models for job in ("step", "points")} < seconds.keys()
    floor = count_calls(work["floor"], "cpu", None)
    for name, model in models.items():
        assert all(p.grad is None for p in model.parameters())
        assert count_calls(work[f"{name}_step"], "cpu", None) > floor
    assert peak_memory(work[f"{OWN}_points"], "cpu", None) > 0


def test_methods_are_named_as_for_training():
    assert chosen_methods("") == [] and chosen_methods("pkd,mimic") == ["pkd", "mimic"]
    assert chosen_methods("all") == recipes.names()
    with pytest.raises(UserError, match="no method 'pkdd'"):
        chosen_methods("pkdd")


@pytest.mark.slow
def test_a_config_without_points_has_no_ratio():
    run = benchmark("alone_retinanet_r18")
    assert run.returncode == 2 and "distils nothing" in run.stderr


def test_quartiles_need_two_repeats(monkeypatch, capsys):
    words = ["benchmark.py", "--config-file", "configs/shapes/diffkd_retinanet_r18.py", "--repeats", "1"]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit):
        main()
    assert capsys.readouterr().err == "error: --repeats is 1, expected at least 2, which quartiles need\n"


def test_operator_calls_exclude_views():
    assert count_calls(lambda: torch.ones(2, 3).t()[0].mul(2).add_(1), "cpu", None) == 3
