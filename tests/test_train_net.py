"""The entry point as a user calls it, in processes of its own."""

import json

import pytest
import torch
from commands import REPO, read_metrics, train_net

pytestmark = pytest.mark.slow


def test_train_and_resume(small_datasets, tmp_path):
    out = f"train.output_dir={tmp_path}"
    first = train_net(
        small_datasets,
        "shapes/diffkd_retinanet_r18",
        out,
        "train.max_iter=4",
        "train.checkpointer.period=2",
        "train.seed=1",
    )
    assert first.returncode == 0, first.stderr[-2000:]
    for name in ("config.yaml", "log.txt", "metrics.json", "model_final.pth", "results.json"):
        assert (tmp_path / name).stat().st_size > 0
    assert "norms of the teacher are folded" in (tmp_path / "log.txt").read_text()
    metrics = read_metrics(tmp_path)
    keys = {"loss_cls", "loss_kd_p3", "loss_diffusion_p5", "gamma_p4", "lr"}
    assert keys <= set(metrics[0])
    checkpoint = torch.load(tmp_path / "model_final.pth", weights_only=True)
    assert (
        set(checkpoint) >= {"model", "distillers", "trainer"} and "backbone.fpn_lateral3.weight" in checkpoint["model"]
    )
    again = train_net(small_datasets, "shapes/diffkd_retinanet_r18", out, "--resume", "train.max_iter=6")
    assert again.returncode == 0, again.stderr[-2000:]
    metrics = read_metrics(tmp_path)
    assert [m["iteration"] for m in metrics if "total_loss" in m] == list(range(6))


def test_evaluation_of_student_and_teacher(small_datasets, tmp_path):
    out = f"train.output_dir={tmp_path}"
    assert "nothing to evaluate" in train_net(small_datasets, "shapes/alone_retinanet_r18", out, "--eval-only").stderr
    assert train_net(small_datasets, "shapes/diffkd_retinanet_r18", out, "--eval-teacher").returncode == 0
    assert "are folded" not in (tmp_path / "log.txt").read_text()  # what is evaluated is the model as it was loaded
    teacher = json.loads((tmp_path / "results_teacher.json").read_text())
    assert teacher["bbox"]["AP"] > 5  # the shipped teacher, on thirty images


def test_two_processes_on_gloo(small_datasets, tmp_path):
    run = train_net(
        small_datasets,
        "shapes/mimic_retinanet_r18",
        f"train.output_dir={tmp_path}",
        "train.max_iter=2",
        processes=2,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    assert (tmp_path / "model_final.pth").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["model.teacher.weights=nowhere.pth"], "nowhere.pth"),
        (["model.teacher.weights=''"], "no weights"),
        (["model.points.0.key=p9"], "p9"),
        (["model.points.0.teacher=backbon"], "no module 'backbon'; the nearest names: backbone,"),
        (["model.points.0.teacher_key=p4"], "point 'p3': stride 8 in the student, 16 in the teacher"),
        (["model.points.1.distiller.student_channels=9"], "point 'p4': the student's feature has"),
        (["model.teacher.model.num_classes=5"], "wrongly shaped"),
        (["train.max_itr=3"], "train.max_iter"),
        (["dataloader.train.mapper.image_format=RGB"], "mapper.image_format is RGB"),
        (["dataloader.train.dataset.names=shapes_trian"], "shapes_train"),
        (["dataloader.train.dataset.names=coco_2017_train"], "DETECTRON2_DATASETS"),
        (["dataloader.test.dataset.names=coco_2017_val"], "instances_val2017.json is not there"),
        (["--num-gpus", "99"], "--num-gpus 99"),
        (["train.max_iter=abc"], "train.max_iter is 'abc'"),
        (
            ["optimizer.lr=1e-3x", "train.accumulate=0"],
            "optimizer.lr is '1e-3x', expected a valid number; train.accumulate is 0",
        ),
        (["model.points.0.distiller.latent_channels=-1"], "latent_channels is -1, expected at least 1"),
        (["distill.start_iter=5"], "distill.start_iter is 5, but the run ends at train.max_iter=1"),
        (["train.output_dir=train_net.py"], "train.output_dir is 'train_net.py'"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(small_datasets, tmp_path, arguments, message):
    run = train_net(
        small_datasets, "shapes/diffkd_retinanet_r18", f"train.output_dir={tmp_path}", "train.max_iter=1", *arguments
    )
    assert run.returncode == 2, run.stderr[-2000:]
    line = [x for x in run.stderr.splitlines() if x.startswith("error:")]
    assert len(line) == 1 and message in line[0]
    assert "Starting training" not in run.stdout + run.stderr
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize("processes", [None, 1], ids=["plain", "torchrun"])
def test_a_dry_run_prints_the_plan_and_trains_nothing(small_datasets, tmp_path, processes):
    arguments = [f"train.output_dir={tmp_path}", "distill.teacher_check=4", "--dry-run"]
    run = train_net(small_datasets, "shapes/diffkd_retinanet_r18", *arguments, processes=processes)
    assert run.returncode == 0, run.stderr[-2000:]
    for line in (
        "keys loaded from assets/shapes_teacher_r50.pth",
        "the teacher has bbox AP",
        "train shapes_train: ",
        "boxes per class: circle ",
        "p3: backbone <- backbone, DiffKD, weight 5, stride 8, teacher's (8, 96, 16, 16)",
        "optimizer group: lr 0.001",
        "loss_kd acts in iterations 0 to 1499",
        "nothing was trained",
    ):
        assert line in run.stdout, line
    assert not (tmp_path / "results_teacher_check.json").exists()
    assert "Starting training" not in run.stdout
    assert not list(tmp_path.glob("model*")) and not (tmp_path / "metrics.json").exists()


PROJECT = """
from detectron2.config import LazyCall as L
from detectron2.config import LazyConfig

globals().update(LazyConfig.load({config!r}))
class Broken:
    def __init__(self, width):
        self.width = width["nothing"]
model.student = L(Broken)(width=3)
"""


def test_project_error_keeps_its_traceback(small_datasets, tmp_path):
    (tmp_path / "project.py").write_text(PROJECT.format(config=str(REPO / "configs/shapes/alone_retinanet_r18.py")))
    run = train_net(small_datasets, tmp_path / "project", f"train.output_dir={tmp_path}")
    assert run.returncode == 1
    first = next(i for i, x in enumerate(run.stderr.splitlines()) if x.startswith("error: model: "))
    error = run.stderr.splitlines()[first:]
    assert "Broken: TypeError: 'int' object is not subscriptable" in error[0]
    assert error[1].startswith("Traceback") and any("project.py" in x for x in error)
