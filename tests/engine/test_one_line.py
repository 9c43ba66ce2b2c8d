"""One command line distils a YAML config, a project, or a LazyConfig: training, resuming, evaluation."""

import json
import shutil

import pytest
import torch
from commands import read_metrics
from detectors import MASK, RETINANET, SEMANTIC
from one_line import SHORT, run, small_opts, small_teacher
from own_project import STANDIN

from diffkd_d2.modeling.yaml_model import yaml_model

pytestmark = pytest.mark.slow

SETS = {RETINANET: "", MASK: "", SEMANTIC: "_sem_seg"}


@pytest.mark.parametrize(("config", "method"), [(RETINANET, "diffkd+qfkd"), (MASK, "pkd+kd"), (SEMANTIC, "cwd+mimic")])
def test_a_yaml_of_the_zoo_is_distilled_by_one_line(config, method, tiny_datasets, tmp_path):
    out, suffix = tmp_path / "out", SETS[config]
    line = ["--config-file", config, *small_teacher(tmp_path, config), "--method", method, *map(str, small_opts(32))]
    line += ["DATASETS.TRAIN", f"('shapes_train{suffix}',)", "DATASETS.TEST", f"('shapes_val{suffix}',)"]
    line += ["SOLVER.IMS_PER_BATCH", "2", "SOLVER.STEPS", "()", "SOLVER.CHECKPOINT_PERIOD", "2", "SEED", "1"]
    line += ["INPUT.MIN_SIZE_TRAIN", "(128,)", "INPUT.MIN_SIZE_TEST", "128", "OUTPUT_DIR", str(out), *SHORT]
    line += ["INPUT.MASK_FORMAT", "bitmask"]
    run(tiny_datasets, *line, "SOLVER.MAX_ITER", "2", "TEST.EVAL_PERIOD", "0")
    run(tiny_datasets, *line, "--resume", "SOLVER.MAX_ITER", "3")
    metrics = [m for m in read_metrics(out) if "total_loss" in m]
    assert [m["iteration"] for m in metrics] == [0, 1, 2]
    assert any(name.startswith("loss_kd_") and value > 0 for name, value in metrics[-1].items())
    assert (out / "results.json").is_file()
    state = torch.load(out / "model_final.pth", weights_only=True)["model"]
    assert yaml_model(config, small_opts(32)).load_state_dict(state)  # a plain Detectron2 checkpoint
    final = str(out / "model_final.pth")
    run(tiny_datasets, *line, "--eval-only", "MODEL.WEIGHTS", final)
    run(tiny_datasets, *line, "--eval-teacher")
    assert (out / "results_teacher.json").is_file()


def test_a_yaml_run_resumes_exactly(tiny_datasets, tmp_path):
    line = ["--config-file", RETINANET, *small_teacher(tmp_path, RETINANET), "--method", "mimic", *SHORT]
    line += [*map(str, small_opts(32)), "DATASETS.TRAIN", "('shapes_train',)", "DATASETS.TEST", "('shapes_val',)"]
    line += ["SOLVER.IMS_PER_BATCH", "2", "SOLVER.STEPS", "()", "SOLVER.WARMUP_FACTOR", "1.0", "TEST.EVAL_PERIOD", "0"]
    line += ["INPUT.MIN_SIZE_TRAIN", "(96,128)", "INPUT.MIN_SIZE_TEST", "128", "SEED", "1"]
    line += ["DATALOADER.SAMPLER_TRAIN", "RepeatFactorTrainingSampler", "DATALOADER.REPEAT_THRESHOLD", "0.6"]
    whole, parts = (["OUTPUT_DIR", str(tmp_path / name)] for name in ("whole", "parts"))
    run(tiny_datasets, *line, *whole, "SOLVER.MAX_ITER", "3")
    run(tiny_datasets, *line, *parts, "SOLVER.MAX_ITER", "2")
    run(tiny_datasets, *line, *parts, "SOLVER.MAX_ITER", "3", "--resume")
    metrics = [read_metrics(tmp_path / name) for name in ("whole", "parts")]
    losses = [[m["total_loss"] for m in lines if "total_loss" in m] for lines in metrics]
    assert len(losses[0]) == 3 and losses[0] == losses[1]


def test_the_losses_are_those_of_the_config_by_hand(tiny_datasets, tmp_path):
    by_hand = ["--config-file", "configs/shapes/mimic_retinanet_r18.py"]
    one_line = [
        "--config-file",
        "configs/shapes/alone_retinanet_r18.py",
        "--teacher",
        "configs/shapes/teacher_retinanet_r50.py",
    ]
    one_line += ["--method", "mimic", "model.points.weight=5"]
    lines = []
    for name, words in (("hand", by_hand), ("line", one_line)):
        more = ["train.max_iter=3", "train.seed=1", "dataloader.train.total_batch_size=2", "train.eval_period=0"]
        run(tiny_datasets, *words, f"train.output_dir={tmp_path / name}", *SHORT, *more)
        keep = ("total_loss", "loss_cls", "loss_kd_p3", "loss_kd_p5")
        lines.append([[m[k] for k in keep] for m in read_metrics(tmp_path / name) if "total_loss" in m])
    assert len(lines[0]) == 3 and lines[0] == lines[1]


def test_a_project_trains_resumes_and_evaluates(tiny_datasets, tmp_path):
    shutil.copytree(STANDIN, tmp_path / "MyProject")
    project = ["--project", "MyProject/train_net.py"]
    teacher = [*project, "--config-file", "MyProject/configs/teacher.yaml", *SHORT]
    run(tiny_datasets, *teacher, "--method", "alone", "SOLVER.MAX_ITER", "2", cwd=tmp_path)
    line = [*project, "--config-file", "MyProject/configs/student.yaml", "--teacher", "MyProject/configs/teacher.yaml"]
    line += ["--teacher-weights", "output/mine/teacher/model_final.pth", "--method", "mimic", *SHORT]
    run(tiny_datasets, *line, "SOLVER.MAX_ITER", "2", cwd=tmp_path)
    run(tiny_datasets, *line, "SOLVER.MAX_ITER", "4", "--resume", cwd=tmp_path)
    out = tmp_path / "output/mine/student"
    metrics = [m for m in read_metrics(out) if "total_loss" in m]
    assert [m["iteration"] for m in metrics] == [0, 1, 2, 3] and metrics[0]["loss_kd_s8"] > 0
    assert "not called: Trainer.build_hooks" in (out / "log.txt").read_text()
    assert "sem_seg" in json.loads((out / "results.json").read_text())
    run(tiny_datasets, *line, "--eval-only", "MODEL.WEIGHTS", str(out / "model_final.pth"), cwd=tmp_path)
    project = str(tmp_path / "MyProject/train_net.py")
    plain = yaml_model(str(tmp_path / "MyProject/configs/student.yaml"), project=project)
    assert plain.load_state_dict(torch.load(out / "model_final.pth", weights_only=True)["model"])
