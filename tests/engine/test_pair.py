"""The flags: any config with any teacher and method, overrides of two kinds, and wrong command lines."""

from pathlib import Path

import pytest
import torch
from detectors import RETINANET
from detectron2 import model_zoo
from detectron2.config import instantiate
from own_project import PROJECT, STUDENT, TEACHER, arguments

from diffkd_d2.engine import optimizer as engine_optimizer
from diffkd_d2.engine.overrides import locate_target
from diffkd_d2.engine.pair import configure, split_overrides
from diffkd_d2.errors import UserError
from diffkd_d2.meta_arch.auto_points import AutoPoints
from diffkd_d2.meta_arch.distilled_model import DistilledModel
from diffkd_d2.modeling.yaml_model import read_cfg, yaml_model


def test_the_flags_pair_any_config_with_any_teacher(tmp_path):
    torch.save({"model": yaml_model(TEACHER, project=PROJECT).state_dict()}, tmp_path / "teacher.pth")
    weights = ["--teacher-weights", str(tmp_path / "teacher.pth")]
    pair = ["--config-file", STUDENT, "--project", PROJECT, "--teacher", TEACHER, *weights]
    cfg = configure(
        arguments(*pair, "SOLVER.MAX_ITER", "7", "--method", "mimic", "distill.levels=[s8]", "distill.weight=2")
    )
    model = instantiate(cfg.model)
    assert [(p.name, p.distiller.align.weight.shape[:2]) for p in model.points] == [("s8", (24, 16))]
    assert (cfg.train.max_iter, cfg.distill.weight) == (7, 2)
    assert type(instantiate(configure(arguments(*pair)).model).points[0].distiller).__name__ == "DiffKD"
    for alone in ([*pair, "--method", "alone"], [*pair[:4], "--method", "mimic"]):
        model = instantiate(configure(arguments(*alone)).model)
        assert not len(model.points) and not model.teachers
    note = configure(arguments(*pair[:4], "--method", "mimic")).notes[-1]
    assert note == "--method mimic: no effect, because the student trains alone"


def test_the_baseline_takes_the_command_line_of_a_method():
    method = ["distill.where=stages", "distill.levels=[p3]", "+model.points.tau=2", "model.points.weight=2"]
    method += ["distill.balance=5", "distill.start_iter=3"]
    lazy = "configs/shapes/alone_retinanet_r18.py"
    for words in (["--config-file", RETINANET], ["--config-file", lazy, "--method", "alone"]):
        cfg = configure(arguments(*words, *method, "train.max_iter=7"))
        assert cfg.model.points == [] and cfg.train.max_iter == 7
        assert cfg.notes[-1] == f"{', '.join(method)}: no effect, because the student trains alone"
    with pytest.raises(UserError, match="no key 'model.points.weight'"):
        configure(arguments("--config-file", lazy, "model.points.weight=2"))
    options = ["distill.balance=5", "distill.teacher_check=5"]
    assert configure(arguments("--config-file", lazy, *options)).notes == [
        f"{', '.join(options)}: no effect, because the student trains alone"
    ]
    pair = ["--config-file", "configs/shapes/diffkd_retinanet_r18.py", "model.points=[]"]
    assert configure(arguments(*pair, *options)).notes == [
        "distill.balance=5: no effect, because the student trains alone"
    ]


def test_flags_that_exclude_each_other():
    config = ["--config-file", "configs/shapes/alone_retinanet_r18.py"]
    for two in (["--eval-only", "--eval-teacher"], ["--eval-teacher", "--dry-run"], ["--eval-only", "--dry-run"]):
        with pytest.raises(UserError, match=" and ".join(two) + " exclude each other"):
            configure(arguments(*config, *two))


def test_options_of_a_method_need_one():
    pair = ["--config-file", "configs/shapes/diffkd_retinanet_r18.py"]
    with pytest.raises(UserError, match="goes with --method; here model.points is a list"):
        configure(arguments(*pair, "+model.points.tau=2"))
    with pytest.raises(UserError, match="model.points is a list of 3, numbered from 0"):
        configure(arguments(*pair, "model.points.5.weight=1"))


def test_a_list_replaces_the_points_that_a_method_chooses():
    lazy = ["--config-file", "configs/shapes/alone_retinanet_r18.py", "--method", "mimic"]
    teacher = ["--teacher", "configs/shapes/teacher_retinanet_r50.py", "--teacher-weights", "x.pth"]
    for more in ([], ["distill.levels=[p3]"], ["model.points.weight=2"]):
        cfg = configure(arguments(*lazy, *teacher, *more, "model.points=[]"))
        assert cfg.model.points == [] and cfg.model.teacher
        assert cfg.notes[-1].startswith("--method mimic") and cfg.notes[-1].endswith("the student trains alone")
    assert instantiate(configure(arguments(*lazy, *teacher, "model.points.weight=2")).model.points).weight == 2


def test_a_lazy_config_takes_the_flags_too(tmp_path):
    lazy = [
        "--config-file",
        "configs/shapes/alone_retinanet_r18.py",
        "--teacher",
        "configs/shapes/teacher_retinanet_r50.py",
    ]
    cfg = configure(arguments(*lazy, "--method", "mimic"))
    assert [p.name for p in instantiate(cfg.model).points] == ["p3", "p4", "p5"]
    with pytest.raises(UserError, match="no trained weights are known"):
        configure(arguments(*lazy[:3], "configs/shapes/teacher_semantic_fpn_r50.py"))


def test_a_lazy_config_of_another_project_takes_them_too():
    theirs, teacher = (
        model_zoo.get_config_file("COCO-Detection/retinanet_R_50_FPN_1x.py"),
        "new_baselines/mask_rcnn_R_50_FPN_100ep_LSJ.py",
    )
    cfg = configure(arguments("--config-file", theirs, "--teacher", teacher, "--method", "mimic", "distill.weight=3"))
    assert cfg.model.teacher.weights.startswith("https://") and cfg.train.max_skipped == 10
    model = DistilledModel(
        instantiate(cfg.model.student), instantiate(cfg.model.teacher.model), instantiate(cfg.model.points)
    )
    assert [p.name for p in model.points] == ["p3", "p4", "p5", "p6"]
    cfg.optimizer.params.distiller_lr_factor = 2.0
    optimizer = engine_optimizer.build_optimizer(cfg, model)
    rates = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    assert {rates[id(p)]["lr"] for p in model.points.parameters()} == {2 * cfg.optimizer.lr}
    assert {rates[id(p)]["lr"] for p in model.student.parameters() if p.requires_grad} == {cfg.optimizer.lr}


def test_empty_points_of_a_config_with_a_teacher_mean_no_distillation(tmp_path):
    base = Path("configs/shapes").resolve()
    config = f"{base}/diffkd_retinanet_r18.py"
    text = f"from detectron2.config import LazyConfig\nglobals().update(LazyConfig.load('{config}'))\n"
    (tmp_path / "empty.py").write_text(text + "model.points = []\n")
    (tmp_path / "none.py").write_text(text + "del model.points\n")
    empty, none = ([*"--config-file".split(), str(tmp_path / name)] for name in ("empty.py", "none.py"))
    cfg = configure(arguments(*empty))
    assert cfg.model.points == [] and cfg.model.teacher and "no distillation; the teacher serves" in cfg.notes[-1]
    assert "notes" not in configure(arguments(*empty, "model.points=[]"))
    for words in (none, [*empty, "--method", "diffkd"], [*empty, "--teacher", f"{base}/teacher_retinanet_r50.py"]):
        weights = ["--teacher-weights", "a.pth"] if "--teacher" in words else []
        assert locate_target(configure(arguments(*words, *weights)).model.points) is AutoPoints


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "no config: name one, such as --config-file configs/shapes"),
        (["--config-file", "nowhere.yaml"], "neither a file nor a name in Detectron2's zoo"),
        (["--config-file", STUDENT], "key MODEL.STANDIN, which Detectron2 does not know: name the project's"),
        (["--config-file", STUDENT, "--project", "nowhere.py"], "'nowhere.py' is not a Python file"),
        (["--config-file", RETINANET, "SOLVER.MAX_ITR", "3"], "SOLVER.MAX_ITR"),
        (["--config-file", RETINANET, "SOLVER.MAX_ITER"], "has no value"),
        (["--config-file", RETINANET, "OUTPUT_DIR", "distill.weight=2"], "'OUTPUT_DIR' has no value"),
        (["--config-file", RETINANET, "SOLVER.MAX_ITER=3"], "write SOLVER.MAX_ITER 3, with a space"),
        (["--config-file", RETINANET, "SOLVER.MAX_ITER", "abc"], "config key: SOLVER.MAX_ITER"),
        (["--config-file", STUDENT, "--project", PROJECT, "SOLVER.MAX_ITR", "3"], "Non-existent key: SOLVER.MAX_ITR"),
        (["--config-file", STUDENT, "--project", PROJECT, "SOLVER.MAX_ITER", "abc"], "config key: SOLVER.MAX_ITER"),
        (["--config-file", "COCO-Detection/nowhere.py"], "nor a config of that name in Detectron2's zoo"),
        (["--config-file", RETINANET, "--teacher", RETINANET, "--method", "kd+kd"], "names a method twice"),
        (["--config-file", RETINANET, "--method", "diffdk"], "no method 'diffdk'; the nearest names: diffkd"),
        (["--config-file", RETINANET, "--teacher", "nowhere.py"], "'nowhere.py' is neither a file nor a name"),
        (["--config-file", RETINANET, "--teacher", "/"], "'/' is neither a file nor a name"),
        (["--config-file", RETINANET, "--teacher", "common/optim.py"], "common/optim.py defines no model"),
        (["--config-file", RETINANET, "--teacher", ""], "--teacher is empty"),
        (["--config-file", RETINANET, "--teacher-weights", "a.pth"], "--teacher-weights needs --teacher"),
        (["--config-file", RETINANET, "model.student.project=evil.py"], "project decides what is called"),
        (["--config-file", RETINANET, "model={student: {project: evil.py}}"], "project decides what is called"),
        (["--config-file", RETINANET, "model={'extend' : [os.abort]}"], "extend decides what is called"),
        (["--config-file", RETINANET, "train.seed=(1"], r"cannot apply override 'train.seed=\(1': "),
        (["--config-file", "configs/shapes/alone_retinanet_r18.py", "SOLVER.MAX_ITER", "3"], "goes with a YAML config"),
        (
            ["--config-file", "configs/shapes/diffkd_retinanet_r18.py", "distill.where=head"],
            "this config lists its own",
        ),
        (
            ["--config-file", "configs/shapes/diffkd_retinanet_r18.py", "--method", "mimic", "model.points.0.weight=2"],
            "model.points is chosen by the models, and its options are model.points.levels, model.points.recipe",
        ),
    ],
)
def test_wrong_command_lines_say_the_cure(words, message):
    with pytest.raises(UserError, match=message):
        configure(arguments(*words))


def test_a_wrong_value_in_the_yaml_is_one_line(tmp_path):
    (tmp_path / "a.yaml").write_text("SOLVER: {MAX_ITER: many}")
    with pytest.raises(UserError, match=r"a.yaml: .* config key: SOLVER.MAX_ITER"):
        read_cfg(str(tmp_path / "a.yaml"))


def test_a_name_of_a_lazy_config_in_the_zoo():
    cfg = configure(arguments("--config-file", "COCO-Detection/fcos_R_50_FPN_1x.py", "train.max_iter=7"))
    assert cfg.train.max_iter == 7 and cfg.model.student.num_classes == 80


def test_a_yaml_without_test_sets_has_none():
    cfg = configure(arguments("--config-file", RETINANET, "DATASETS.TEST", "()"))
    assert cfg.dataloader.test == [] and cfg.dataloader.evaluator == []


def test_overrides_are_told_apart():
    words = ["SOLVER.MAX_ITER", "5", "distill.weight=2", "MODEL.SparseRCNN.NUM_CLASSES", "3", "+train.x=1"]
    assert split_overrides(words) == (
        ["SOLVER.MAX_ITER", "5", "MODEL.SparseRCNN.NUM_CLASSES", "3"],
        [words[2], words[5]],
    )


def test_the_zoos_trained_file_is_the_teachers():
    cfg = configure(arguments("--config-file", RETINANET, "--teacher", "COCO-Detection/retinanet_R_101_FPN_3x.yaml"))
    assert cfg.model.teacher.weights.endswith(".pkl") and "retinanet_R_101_FPN_3x" in cfg.model.teacher.weights
