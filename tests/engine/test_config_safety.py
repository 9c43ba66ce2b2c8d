"""Overrides and YAML files are data and run nothing; a LazyConfig is Python, which the README says."""

from pathlib import Path

import pytest

from diffkd_d2.engine.config import load_config
from diffkd_d2.errors import UserError
from diffkd_d2.modeling.yaml_model import yaml_model

REPO = Path(__file__).resolve().parents[2]
CONFIG = str(REPO / "configs/shapes/diffkd_retinanet_r18.py")
MKDIR = "{_target_: os.mkdir, path: CANARY}"


@pytest.mark.parametrize(
    "override",
    [
        "model.student._target_=os.mkdir",
        "+model.student.path=CANARY model.student._target_=os.mkdir",
        f"model.student={MKDIR}",
        f"+model.points.0.extra={MKDIR}",
        f"model.points=[{MKDIR}]",
        "model.points=[{'_target_': os.mkdir, 'path': CANARY}]",
        'model.student={"_target_": os.mkdir}',
        "model.student=${oc.create:{_target_:os.mkdir}}",
        "train.output_dir=${oc.env:HOME}",
        "train.output_dir=${${train.init_checkpoint}:HOME}",
        "train.output_dir=a=${${train.init_checkpoint}:HOME}",
        """dataloader.train.mapper='${${train.output_dir}:"{a: 1}"}'""",
        "train.output_dir=${oc.decode:CANARY}",
        "+model.student.extend=[os.mkdir]",
        "+model.student.extend@:x=[os.mkdir]",
        "model.student={config: a.yaml, extend: [os.mkdir]}",
        "+model.student={'extend' : [os.mkdir]}",
        "dataloader.evaluator._target_=os.mkdir",
    ],
)
def test_an_override_decides_nothing_that_is_called(override, tmp_path):
    canary = tmp_path / "ran"
    with pytest.raises(UserError, match="override"):
        load_config(CONFIG, override.replace("CANARY", str(canary)).split(" model."))
    assert not canary.exists()


def test_values_that_look_like_code_stay_text():
    text = "__import__('os').mkdir('x')"
    cfg = load_config(CONFIG, [f'train.output_dir="{text}"'])
    assert cfg.train.output_dir == text
    assert load_config(CONFIG, ["train.output_dir=out/extend/x", "train.seed=3"]).train.output_dir == "out/extend/x"
    assert load_config(CONFIG, ["train.log_period=${train.seed}", "train.seed=3"]).train.log_period == 3


YAML = '!!python/object/apply:os.mkdir ["{canary}"]'


def test_a_yaml_file_runs_nothing(tmp_path):
    canary = tmp_path / "ran"
    for i, text in enumerate([YAML, f"MODEL:\n  WEIGHTS: {YAML}", "_BASE_: 0.yaml", f"_BASE_: {YAML}"]):
        path = tmp_path / f"{i}.yaml"
        path.write_text(text.format(canary=canary))
        for name in (str(path), f"../../../../../../../../../..{path}"):
            with pytest.raises(UserError, match="YAML"):
                yaml_model(name)
        with pytest.raises(UserError, match="neither a LazyConfig"):
            load_config(str(path), [])
    assert not canary.exists()
