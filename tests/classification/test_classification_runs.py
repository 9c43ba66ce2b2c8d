"""Classifiers through train_net.py, in processes of their own."""

import json
import os

import pytest
import timm
import torch
from commands import read_metrics, train_net
from quick_start import run_program
from two_steps import REPO

pytestmark = pytest.mark.slow

SMALL = ["train.max_iter=4", "train.checkpointer.period=2", "train.seed=1", "dataloader.train.total_batch_size=8"]


@pytest.fixture(scope="module")
def teacher(small_datasets, tmp_path_factory):
    """A teacher of the shapes' crops, hardly trained: the folder of its run."""
    out = tmp_path_factory.mktemp("teacher")
    run = train_net(
        small_datasets, "shapes_cls/teacher_mobilenetv2", *SMALL, f"train.output_dir={out}", "train.init_checkpoint="
    )
    assert run.returncode == 0, run.stderr[-2000:]
    return out


@pytest.mark.parametrize("method", ["kd", "dist", "diffkd"])
def test_method_trains_a_timm_student(method, teacher, small_datasets, tmp_path):
    options = [*SMALL, f"train.output_dir={tmp_path}", f"model.teacher.weights={teacher}/model_final.pth"]
    run = train_net(small_datasets, f"shapes_cls/{method}_resnet10", *options)
    assert run.returncode == 0, run.stderr[-2000:]
    assert run.stdout.count("Recipe:") == 1 and "images read and augmented" in run.stdout
    losses = {"diffkd": {"loss_ae_feature_map", "loss_kd_feature_map", "loss_diffusion_logits", "gamma_logits"}}
    assert losses.get(method, set()) | {"loss_cls", "loss_kd_logits"} <= set(read_metrics(tmp_path)[0])
    results = json.loads((tmp_path / "results.json").read_text())
    assert set(results["cls"]) == {"top1", "top5"}
    bare = timm.create_model("resnet18", num_classes=8, channels=[16, 32, 64, 128], layers=[1, 1, 1, 1])
    bare.load_state_dict(torch.load(tmp_path / "model_final.pth", weights_only=True)["model"], strict=True)


def test_average_accumulation_and_resume(small_datasets, tmp_path):
    options = [*SMALL, f"train.output_dir={tmp_path}", "train.ema_decay=0.5", "train.accumulate=2"]
    first = train_net(small_datasets, "shapes_cls/alone_resnet10", *options)
    assert first.returncode == 0, first.stderr[-2000:]
    assert "16 = 8 x 1 process(es) x 2 accumulated" in first.stdout
    saved = torch.load(tmp_path / "model_final.pth", weights_only=True)
    assert saved["ema"]["n_averaged"] == 4
    assert not torch.equal(saved["ema"]["module.network.fc.weight"], saved["model"]["fc.weight"])
    average = torch.load(tmp_path / "model_ema.pth", weights_only=True)["model"]
    assert torch.equal(average["fc.weight"], saved["ema"]["module.network.fc.weight"])
    assert {"cls", "cls_ema"} == set(json.loads((tmp_path / "results.json").read_text()))
    again = train_net(small_datasets, "shapes_cls/alone_resnet10", *options, "--resume", "train.max_iter=6")
    assert again.returncode == 0, again.stderr[-2000:]
    assert torch.load(tmp_path / "model_final.pth", weights_only=True)["ema"]["n_averaged"] == 6
    evaluated = train_net(
        small_datasets,
        "shapes_cls/alone_resnet10",
        *options,
        "--eval-only",
        f"train.init_checkpoint={tmp_path}/model_ema.pth",
    )
    results = json.loads((tmp_path / "results.json").read_text())
    assert evaluated.returncode == 0 and set(results) == {"cls"}


def test_two_processes_evaluate_as_one(teacher, small_datasets, tmp_path):
    """24 images, batches of 5: neither divides the other, nor by two."""
    found = []
    for processes in (None, 2):
        options = [f"train.output_dir={tmp_path}", "dataloader.test.batch_size=5", "--eval-teacher"]
        options.append(f"model.teacher.weights={teacher}/model_final.pth")
        run = train_net(small_datasets, "shapes_cls/kd_resnet10", *options, processes=processes)
        assert run.returncode == 0, run.stderr[-2000:]
        assert "evaluated 24 images" in run.stdout
        found.append(json.loads((tmp_path / "results_teacher.json").read_text()))
    assert found[0] == found[1] and found[0]["cls"]["top5"] > 0


def test_two_processes_train(teacher, small_datasets, tmp_path):
    options = [*SMALL, f"train.output_dir={tmp_path}", f"model.teacher.weights={teacher}/model_final.pth"]
    run = train_net(small_datasets, "shapes_cls/diffkd_resnet10", *options, processes=2)
    assert run.returncode == 0, run.stderr[-2000:]
    assert "8 = 4 x 2 process(es) x 1 accumulated" in run.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["model.student.num_classes=9"], "the model has 9 classes, the training data 8"),
        (["model.student.model=timm/resnet81"], "timm has no network 'resnet81'"),
        (["train.accumulate=0"], "train.accumulate is 0"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(teacher, small_datasets, tmp_path, arguments, message):
    options = [f"model.teacher.weights={teacher}/model_final.pth", f"train.output_dir={tmp_path}", *arguments]
    run = train_net(small_datasets, "shapes_cls/kd_resnet10", *options)
    line = [x for x in run.stderr.splitlines() if x.startswith("error:")]
    assert run.returncode == 2 and len(line) == 1 and message in line[0], run.stderr[-2000:]
    assert "Starting training" not in run.stdout + run.stderr


def test_the_speed_of_reading_is_measured_by_a_command(small_datasets):
    command = ["tools/images_per_second.py", "configs/shapes_cls/alone_resnet10.py", "--batches", "2"]
    env = dict(os.environ, DETECTRON2_DATASETS=str(small_datasets), OMP_NUM_THREADS="1", PYTHONPATH=str(REPO))
    options = ["dataloader.train.total_batch_size=8"]
    run = run_program([*command, *options], env)
    assert run.returncode == 0, run.stderr[-2000:]
    assert float(run.stdout.split("images per second")[0].split()[-1]) > 0
