"""The command line and the config file."""

import builtins
from pathlib import Path

import pytest
from leaves import ROOT

from diffkd_d2.engine.config import argument_parser, load_config, parse_arguments
from diffkd_d2.errors import ProjectError, UserError
from diffkd_d2.modeling.yaml_model import yaml_model

CONFIG = str(ROOT / "shapes/diffkd_retinanet_r18.py")
DEEPLAB = "detectron2.projects.deeplab.add_deeplab_config"
YAML = "MODEL:\n  META_ARCHITECTURE: SemanticSegmentor\n  SEM_SEG_HEAD:\n    LOSS_TYPE: hard_pixel_mining\n"


def parse(*arguments: str):
    return parse_arguments(argument_parser(), list(arguments))


def test_options_and_overrides_in_any_order():
    args = parse("train.seed=3", "--resume", "model.x=[1, 2]", "--config-file", "a=b/c.py", "--num-gpus=0", "+a.b=c=d")
    assert args.config_file == "a=b/c.py" and args.resume and args.num_gpus == 0 and not args.dry_run
    assert args.opts == ["train.seed=3", "model.x=[1, 2]", "+a.b=c=d"]
    assert parse("--config-file=a=b.py", "--dry-run", "train.seed=-1").opts == ["train.seed=-1"]
    assert parse("--dry-run").dry_run


def test_a_config_in_a_folder_with_an_equals_sign(tmp_path):
    path = tmp_path / "a=b" / "c.py"
    path.parent.mkdir()
    path.write_text(f"from detectron2.config import LazyConfig\nglobals().update(LazyConfig.load({CONFIG!r}))\n")
    args = parse("--config-file", str(path), "train.max_iter=7")
    assert load_config(args.config_file, args.opts).train.max_iter == 7


def test_a_tilde_in_the_output_folder_is_the_home_folder():
    assert load_config(CONFIG, ["train.output_dir=~/x"]).train.output_dir == str(Path.home() / "x")


def test_paths_in_a_config_may_be_paths_and_begin_with_a_tilde(tmp_path):
    assert load_config(CONFIG, ["train.output_dir=~/x/${train.seed}"]).train.output_dir == str(Path.home() / "x/-1")
    text = f"""from pathlib import Path
from detectron2.config import LazyConfig
globals().update(LazyConfig.load({CONFIG!r}))
train.output_dir, train.init_checkpoint = Path("a/b"), "~/c.pth"
model.teacher.weights = Path("~/d.pth")
model.student.missing = "???"
"""
    (tmp_path / "paths.py").write_text(text)
    cfg = load_config(str(tmp_path / "paths.py"), [])
    assert (cfg.train.output_dir, cfg.train.init_checkpoint) == ("a/b", str(Path.home() / "c.pth"))
    assert cfg.model.teacher.weights == str(Path.home() / "d.pth")


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("train = dict(\nmodel = (\n", UserError, r"broken.py.* line \d: .*never closed"),
        ("train = dict(max_iter=5)\n", UserError, "defines no model"),
        ("from .nothing import model\n", UserError, "nothing.py (has to|does not) exist"),
        ("from ...nothing import model\n", UserError, "nothing.py (has to|does not) exist"),
        ("x = 1 / 0\n", ProjectError, "broken.py: ZeroDivisionError: division by zero"),
        ("import no_such_package\n", ProjectError, "no_such_package"),
        ("model = 5\n", UserError, "defines no model"),
    ],
)
def test_a_broken_config_is_one_line(text, error, message, tmp_path):
    path, before = tmp_path / "broken.py", builtins.__import__
    path.write_text(text)
    with pytest.raises(error, match=message):
        load_config(str(path), [])
    assert builtins.__import__ is before


def test_yaml_config_without_extend_is_an_error(tmp_path):
    path = tmp_path / "project.yaml"
    path.write_text(YAML + "    ASPP_CHANNELS: 16\n")
    with pytest.raises(UserError, match="MODEL.SEM_SEG_HEAD.(LOSS_TYPE|ASPP_CHANNELS).*--project.*extend="):
        yaml_model(str(path))


@pytest.mark.parametrize("extend", [DEEPLAB, [DEEPLAB]])
def test_extend_is_one_function_or_several(extend, tmp_path):
    path = tmp_path / "project.yaml"
    path.write_text(YAML)
    assert type(yaml_model(str(path), ["MODEL.SEM_SEG_HEAD.IN_FEATURES", ["res4"]], extend)).__name__
    with pytest.raises(UserError, match="there is no function 'nowhere.add'"):
        yaml_model(str(path), extend="nowhere.add")
