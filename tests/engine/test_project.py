"""YAML configs and whole projects behind the same door as a LazyConfig."""

import logging
import sys

import pytest
import torch
from detectors import MASK, RETINANET, SEMANTIC, SMALL
from detectron2.config import get_cfg, instantiate
from detectron2.data import DatasetMapper
from detectron2.engine import DefaultTrainer
from detectron2.solver import build_lr_scheduler, build_optimizer
from own_project import PROJECT, SHAPES, STUDENT, TEACHER
from torch import nn

from diffkd_d2.distillers import Mimic
from diffkd_d2.engine import optimizer as engine_optimizer
from diffkd_d2.engine.config import finish, place_models
from diffkd_d2.engine.project import from_project, training_cfg
from diffkd_d2.errors import ProjectError
from diffkd_d2.meta_arch.distill_point import DistillPoint
from diffkd_d2.meta_arch.distilled_model import DistilledModel
from diffkd_d2.modeling.project_file import project_trainer
from diffkd_d2.modeling.yaml_model import read_cfg, yaml_model

SOLVERS = {
    "default": [],
    "norms and biases": [
        "SOLVER.WEIGHT_DECAY_NORM",
        0.0,
        "SOLVER.BIAS_LR_FACTOR",
        2.0,
        "SOLVER.WEIGHT_DECAY_BIAS",
        0.0,
    ],
    "cosine": ["SOLVER.LR_SCHEDULER_NAME", "WarmupCosineLR", "SOLVER.WARMUP_ITERS", 7],
}
if "BASE_LR_END" in get_cfg().SOLVER:  # an absolute learning rate; not in Detectron2 0.6
    SOLVERS["cosine with an end"] = [*SOLVERS["cosine"], "SOLVER.BASE_LR_END", 1e-4]


def groups(optimizer):
    """What each parameter is trained with, and the class of the optimizer."""
    options = {
        id(p): {k: v for k, v in g.items() if k != "params"} for g in optimizer.param_groups for p in g["params"]
    }
    return options, [cls.__name__ for cls in type(optimizer).__mro__]


@pytest.mark.parametrize("config", [RETINANET, MASK, SEMANTIC])
@pytest.mark.parametrize("solver", SOLVERS)
def test_optimizer_schedule_and_augmentations_are_detectron2s(config, solver):
    opts = [*SMALL, *SHAPES, "SOLVER.MAX_ITER", 30, "SOLVER.STEPS", (10, 20), *SOLVERS[solver]]
    cfg, theirs = finish(from_project(config, opts=opts)), read_cfg(config, opts)
    student = instantiate(cfg.model.student)
    optimizer = engine_optimizer.build_optimizer(cfg, DistilledModel(student))
    reference = build_optimizer(theirs, student)
    assert groups(optimizer) == groups(reference)
    scheduler, schedule, rates = build_lr_scheduler(theirs, reference), instantiate(cfg.lr_multiplier), []
    for _ in range(30):
        rates.append(reference.param_groups[0]["lr"])
        reference.step()
        scheduler.step()
    assert [theirs.SOLVER.BASE_LR * schedule(i / 30) for i in range(30)] == pytest.approx(rates)
    for loader, is_train in ((cfg.dataloader.train, True), (cfg.dataloader.test, False)):
        mapper = instantiate(loader.mapper)
        assert repr(mapper.augmentations) == repr(DatasetMapper(theirs, is_train).augmentations)
        assert (mapper.image_format, mapper.use_instance_mask) == ("BGR", theirs.MODEL.MASK_ON)


def test_every_part_of_the_yaml_counts():
    opts = [*SHAPES[:2], "DATASETS.TEST", ("shapes_val", "shapes_train"), "SEED", 3, "OUTPUT_DIR", "here"]
    opts += [
        "SOLVER.AMP.ENABLED",
        True,
        "TEST.EVAL_PERIOD",
        5,
        "TEST.PRECISE_BN.ENABLED",
        True,
        "TEST.AUG.ENABLED",
        True,
    ]
    opts += ["DATALOADER.SAMPLER_TRAIN", "RepeatFactorTrainingSampler", "DATALOADER.REPEAT_THRESHOLD", 0.5]
    cfg = from_project(RETINANET, opts=opts)
    train = cfg.train
    assert (train.seed, train.output_dir, train.amp.dtype, train.eval_period) == (3, "here", "float16", 5)
    assert (train.precise_bn, train.init_checkpoint[:14]) == (200, "detectron2://I")
    assert [node.dataset_name for node in cfg.dataloader.evaluator] == ["shapes_val", "shapes_train"]
    assert cfg.dataloader.train.sampler.opts[-1] == 0.5
    assert cfg.notes == ["TEST.AUG.ENABLED is not honoured: no test-time augmentation"]


def test_reference_world_size_scales_the_batch(monkeypatch):
    opts = [
        "SOLVER.IMS_PER_BATCH",
        16,
        "SOLVER.REFERENCE_WORLD_SIZE",
        8,
        "SOLVER.BASE_LR",
        0.16,
        "SOLVER.MAX_ITER",
        100,
    ]
    cfg = from_project(RETINANET, opts=opts)
    assert (cfg.dataloader.train.total_batch_size, cfg.optimizer.lr, cfg.train.max_iter) == (2, 0.02, 800)


def test_a_project_gives_its_config_model_loaders_and_solver(caplog):
    cfg = finish(from_project(STUDENT, PROJECT, ["SOLVER.BASE_LR", 0.5]))
    student = instantiate(cfg.model.student)
    assert type(student).__name__ == "StandIn" and student.input_format == "RGB"
    assert cfg.train.clip_norm == 0.5  # the project clips all gradients together: the student's apart from ours
    points = [DistillPoint("backbone", "backbone", Mimic(8, 8), key="s4")]
    model = DistilledModel(student, yaml_model(STUDENT, project=PROJECT), points)
    cfg.optimizer.params.distiller_lr_factor = 3.0
    optimizer = engine_optimizer.build_optimizer(cfg, model)
    rates, _ = groups(optimizer)
    by_name = {name: rates[id(p)]["lr"] for name, p in model.named_parameters()}
    assert [by_name[n] for n in by_name if n.startswith("student.backbone")] == pytest.approx([0.05] * 6)
    assert by_name["student.pixel_decoder.predictor.weight"] == 0.5
    assert by_name["points.0.distiller.align.weight"] == 1.5
    schedule = instantiate(cfg.lr_multiplier)
    assert [schedule(i / 4) for i in range(4)] == pytest.approx([(1 - i / 4) ** 0.9 for i in range(4)])
    assert "not called: Trainer.build_hooks" in cfg.notes and any("begins anew" in note for note in cfg.notes)


def test_a_project_does_not_set_up_anything_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    handlers = list(logging.getLogger("detectron2").handlers)
    from_project(TEACHER, PROJECT)
    assert not list(tmp_path.iterdir()) and logging.getLogger("detectron2").handlers == handlers
    assert getattr(sys.modules.get("train_net"), "__file__", None) != PROJECT  # it took nobody's name


MANY_TRAINERS = """
import detectron2.engine as engine
from detectron2.engine import DefaultTrainer
from detectron2.config import get_cfg

class First(DefaultTrainer):
    pass

class Second(First):
    pass

def setup(args):
    cfg = get_cfg()
    cfg.INPUT.MINE, cfg.SOLVER.MINE, cfg.MINE = 1, 2, 3
    cfg.merge_from_file(args.config_file)
    engine.default_setup(cfg, args)
    return cfg
"""


def test_other_forms_of_a_project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text(MANY_TRAINERS)
    (tmp_path / "a.yaml").write_text("{INPUT: {MINE: 5}, SOLVER: {MINE: 5}, MINE: 5, OUTPUT_DIR: out}")
    assert project_trainer("train.py").__name__ == "Second"  # what is derived from another project class
    notes = from_project("a.yaml", "train.py").notes
    assert "not honoured, unless the model reads them: INPUT.MINE, MINE, SOLVER.MINE" in notes
    assert not (tmp_path / "out").exists()  # default_setup did nothing
    monkeypatch.setattr(project_trainer("train.py"), "build_optimizer", lambda cfg, model: None)
    notes = from_project("a.yaml", "train.py").notes
    assert "not honoured, unless the model reads them: INPUT.MINE, MINE" in notes


OWN_TRAINER = """
from detectron2.config import get_cfg
from detectron2.engine import SimpleTrainer
from torch import nn

class Trainer(SimpleTrainer):
    @classmethod
    def build_model(cls, cfg):
        return nn.Linear(2, 1)

def default_setup(cfg, args):
    raise RuntimeError("set up")

def setup(args):
    cfg = get_cfg()
    cfg.merge_from_file(args.config_file)
    default_setup(cfg, args)
    return cfg
"""


def test_a_trainer_of_the_projects_own_builds_the_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(OWN_TRAINER)
    (tmp_path / "own.yaml").write_text("{OUTPUT_DIR: out}")
    cfg = from_project("own.yaml", "own.py")  # its own default_setup does nothing either
    assert isinstance(instantiate(cfg.model.student), nn.Linear)
    assert not any("has no Trainer" in note for note in cfg.notes)
    assert project_trainer("own.py").build_evaluator.__func__ is DefaultTrainer.build_evaluator.__func__


def test_a_trainer_that_builds_on_instances_is_passed_over(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop.py").write_text("class Trainer:\n    def build_model(self):\n        pass\n")
    assert project_trainer("loop.py") is DefaultTrainer


def test_model_with_a_stored_device():
    cfg = from_project(STUDENT, PROJECT)
    cfg.model.teacher = dict(cfg.model.student)
    place_models(finish(cfg).model, "meta")
    model = instantiate(cfg.model)
    assert {m.device for m in (model.student, *model.teachers)} == {torch.device("meta")}
    moved = DistilledModel(yaml_model(STUDENT, project=PROJECT), yaml_model(TEACHER, project=PROJECT)).to("meta")
    assert {m.device.type for m in (moved.student, *moved.teachers)} == {"meta"}


def test_config_readers_do_not_share_changes():
    first, second = (training_cfg(config=RETINANET, project=None) for _ in range(2))
    first.SOLVER.BASE_LR = 7.0
    assert second.SOLVER.BASE_LR != 7.0


def test_a_schedule_may_end_at_an_absolute_learning_rate(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cosine.py").write_text(
        "import torch\nfrom detectron2.engine import DefaultTrainer\n"
        "class Trainer(DefaultTrainer):\n"
        "    @classmethod\n    def build_lr_scheduler(cls, cfg, optimizer):\n"
        "        return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, cfg.SOLVER.MAX_ITER, eta_min=1e-4)\n"
        "    def after_step(self):\n        pass\n"
    )
    (tmp_path / "cosine.yaml").write_text("{SOLVER: {MAX_ITER: 4, BASE_LR: 0.001}}")
    cfg = from_project("cosine.yaml", "cosine.py")
    assert instantiate(cfg.lr_multiplier)(0.5) == pytest.approx(0.55)  # half way from 1e-3 to 1e-4
    assert "not called: Trainer.after_step" in cfg.notes


def test_a_setup_that_reads_its_own_flags_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "flags.py").write_text("def setup(args):\n    return args.tag\n")
    (tmp_path / "flags.yaml").write_text("{}")
    with pytest.raises(ProjectError, match="no attribute 'tag' .setup is given the arguments of Detectron2's"):
        from_project("flags.yaml", "flags.py")
