"""Every value of a config has its type and range; a fault is one line that names it."""

import functools
import pickle

import pytest
from detectron2.config import LazyCall as L
from detectron2.config import instantiate
from fvcore.common.param_scheduler import MultiStepParamScheduler
from leaves import LEAVES, ROOT, load
from omegaconf import OmegaConf

from diffkd_d2.distillers import ScoreMimic
from diffkd_d2.engine.config import complete, finish, load_config, load_lazy
from diffkd_d2.engine.defaults import distill_defaults, train_defaults
from diffkd_d2.engine.overrides import apply_overrides
from diffkd_d2.engine.schema import Distill, Train, check_config
from diffkd_d2.errors import UserError

ALONE, PAIR = (str(ROOT / f"shapes/{name}_retinanet_r18.py") for name in ("alone", "diffkd"))


@functools.cache
def pickled(path):
    """Return a config as it is before overrides; to read it takes a hundredth of the time of running its file."""
    return pickle.dumps(complete(load_lazy(path)))


def load_with(override):
    """Do what `load_config` does, to a pair where the override is about the pair, else to the student alone."""
    path = PAIR if override.startswith(("model.points", "model.teacher")) else ALONE
    return finish(apply_overrides(pickle.loads(pickled(path)), [override]))


@pytest.mark.parametrize(
    "override",
    [
        *(f"train.max_iter={x}" for x in ("abc", "-5", "0", "1.5", "1e5", "True", "null", "[3]", "nan")),
        *(f"train.log_period={x}" for x in ("0", "-1", "a")),
        *(f"train.eval_period={x}" for x in ("-1", "0.5")),
        *(f"train.checkpointer.period={x}" for x in ("0", "-1", "x")),
        *(f"train.checkpointer.max_to_keep={x}" for x in ("0", "-2")),
        *(f"train.clip_norm={x}" for x in ("0", "-1", "inf", "nan", "a")),
        *(f"train.accumulate={x}" for x in ("0", "-1", "1.0")),
        *(f"train.ema_decay={x}" for x in ("0", "1", "-0.1", "a")),
        *(f"train.seed={x}" for x in ("-2", "a", "0.5")),
        *(f"train.amp.dtype={x}" for x in ("half", "16")),
        *(f"train.compile={x}" for x in ("maybe", "1")),
        *(f"train.max_skipped={x}" for x in ("0", "-1")),
        *(f"train.lr_reference_batch={x}" for x in ("0", "a")),
        "train.drop_distill=perhaps",
        "train.device=tpu",
        "train.output_dir=''",
        "train.output_dir=null",
        "train.init_checkpoint=null",
        "train.inherit=5",
        "train.amp=float16",
        "train.checkpointer=5",
        *(f"distill.start_iter={x}" for x in ("-1", "a", "null")),
        *(f"distill.warmup_iters={x}" for x in ("-1", "0.5")),
        *(f"distill.stop_iter={x}" for x in ("0", "-1", "a")),
        "distill.teacher_check=-1",
        *(f"optimizer.lr={x}" for x in ("1e-3x", "0", "-1", "inf", "[1]")),
        *(f"optimizer.weight_decay={x}" for x in ("-1", "a")),
        "optimizer.params.distiller_lr_factor=-1",
        "optimizer.params.base_lr=-1",
        "optimizer=null",
        "lr_multiplier=3",
        "optimizer.params.weight_decay_norm=a",
        *(f"lr_multiplier.warmup_length={x}" for x in ("-0.1", "5", "a")),
        "lr_multiplier.warmup_factor=2",
        "lr_multiplier.warmup_method=liner",
        "lr_multiplier.scheduler.start_value=-1",
        "dataloader.evaluator=3",
        "dataloader.train.mapper.augmentations.0.prob=7",
        *(f"model.student.num_classes={x}" for x in ("-1", "0", "a")),
        "model.student.head.prior_prob=1",
        "model.student.pixel_std=[1,0,1]",
        "model.student.test_score_thresh=2",
        "model.student.backbone.bottom_up.freeze_at=9",
        "model.teacher=abc",
        *(f"dataloader.train.total_batch_size={x}" for x in ("0", "-1", "2.5", "a")),
        *(f"dataloader.train.num_workers={x}" for x in ("-1", "a")),
        "dataloader.test.num_workers=-1",
        *(f"model.points.0.distiller.student_channels={x}" for x in ("a", "6.5", "null")),
        "model.points.0.distiller.latent_channels=a",
        "model.points.0.distiller.tau=hot",
        "model.points.0.distiller.logits=1",
        "model.points.0.weight=heavy",
        "model.points.0.stride=a",
        "model.teacher.weights=5",
        "model.shared_distiller=3",
        "model.student=null",
        "model.points.0.distiller=kd",
        "model.points.0.roi=mask",
        "model.points.0.distiller.norm=GN",
        "+dataloader.train.mapper.instance_mask_format=bitmap",
    ],
)
def test_wrong_type_or_range_is_named(override):
    with pytest.raises(UserError) as error:
        load_with(override)
    key = override.removeprefix("+").partition("=")[0]
    assert f"{key} is " in str(error.value) and "expected" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("train.clip_norm=null", None),
        ("train.clip_norm=5", 5),
        ("train.seed=-1", -1),
        ("train.eval_period=0", 0),
        ("train.ema_decay=0.999", 0.999),
        ("train.inherit=[backbone]", ["backbone"]),
        ("train.device=cuda:1", "cuda:1"),
        ("distill.stop_iter=5", 5),
        ("optimizer.lr=1", 1),
        ("model.points.0.distiller.latent_channels=16", 16),
        ("train.output_dir=a b", "a b"),
        ("train.output_dir=a/lr=0.1", "a/lr=0.1"),
        ("train.output_dir=/x/project:1/extend=2", "/x/project:1/extend=2"),
        ("model.teacher.weights=a.pth?matching_heuristics=True", "a.pth?matching_heuristics=True"),
        ("train.init_checkpoint='a=b.pth'", "a=b.pth"),
        ("train.init_checkpoint=a\\=b.pth", "a=b.pth"),
        ("train.init_checkpoint=it's/a=b.pth", "it's/a=b.pth"),
    ],
)
def test_a_right_value_stays_as_it_is(override, value):
    assert OmegaConf.select(load_with(override), override.partition("=")[0]) == value


@pytest.fixture
def cfg():
    return load_config(PAIR, [])


def test_all_faults_are_in_the_line(cfg):
    cfg.train.max_iter, cfg.optimizer.lr, cfg.train.log_period = 0, "fast", "${train.nothing}"
    with pytest.raises(UserError, match=r"train.nothing.*train.log_period"):
        check_config(cfg)
    cfg.train.log_period = "often"
    with pytest.raises(UserError, match="optimizer.lr is 'fast', .*train.max_iter is 0, .*train.log_period is 'often'"):
        check_config(cfg)


@pytest.mark.parametrize("values", [[1.0, -0.1], [1.0, "a"]])
def test_values_of_a_schedule_by_steps(cfg, values):
    cfg.lr_multiplier = L(MultiStepParamScheduler)(values=values, milestones=[3], num_updates=9)
    with pytest.raises(UserError, match="lr_multiplier.values.1 is .*, expected"):
        check_config(cfg)
    cfg.lr_multiplier.values = [1.0, 0.1]
    check_config(cfg)


def test_a_tuple_may_be_written_as_tuple_or_list(cfg):
    cfg.model.points[0].distiller = L(ScoreMimic)(student_channels=16, teacher_channels=16)
    for scores in (("head", (0, 1)), ["head", [0, 1]], ("head", "p3"), ("head", None)):
        cfg.model.points[0].scores = scores
        check_config(cfg)
        assert isinstance(instantiate(cfg.model.points[0]).scores, tuple)


@pytest.mark.parametrize("scores", ["head", ("head",), ("head", 0.5), (3, "p3"), ("head", (0, 1), 2)])
def test_items_of_a_tuple_are_checked(cfg, scores):
    cfg.model.points[0].scores = scores
    with pytest.raises(UserError, match=r"model\.points\.0\.scores is .*, "):
        check_config(cfg)


def test_arguments_of_other_code_are_not_checked(cfg):
    cfg.model.student.test_score_thresh = 7
    cfg.model.student._target_ = "collections.Counter"
    check_config(cfg)


@pytest.mark.parametrize("part", ["model", "dataloader", "optimizer", "lr_multiplier", "train", "distill"])
def test_a_part_that_is_missing(cfg, part):
    del cfg[part]
    with pytest.raises(UserError, match=f"{part} is missing"):
        check_config(cfg)


def test_unknown_and_missing_options(cfg):
    cfg.train.max_itr = 5
    with pytest.raises(UserError, match="nothing reads train.max_itr; the nearest names: max_iter"):
        check_config(cfg)
    del cfg.train["max_itr"], cfg.train["clip_norm"]
    with pytest.raises(UserError, match="train.clip_norm is missing"):
        check_config(cfg)


def test_the_table_has_every_option_with_a_default():
    assert set(Train.model_fields) == set(train_defaults())
    assert set(Distill.model_fields) == set(distill_defaults())


@pytest.mark.slow
@pytest.mark.parametrize("path", LEAVES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_shipped_configs_pass(path):
    check_config(load(path))
