"""What fails while a config is built: one line for a wrong argument, a project's own traceback under one line."""

import pytest
import torch
from detectron2.config import LazyCall as L
from detectron2.config import LazyConfig
from detectron2.data import DatasetCatalog
from detectron2.data.transforms import RandomFlip
from detectron2.layers import get_norm
from detectron2.modeling.backbone import FPN
from small_data import coco, register_coco, train_loader
from torch import nn

from diffkd_d2.data.annotations import NamedErrors
from diffkd_d2.distillers import DIST, KD, DiffKD, Mimic
from diffkd_d2.engine.build import build
from diffkd_d2.engine.evaluators import _build_evaluators
from diffkd_d2.engine.loaders import build_loader
from diffkd_d2.errors import ProjectError, UserError, one_line_errors
from diffkd_d2.meta_arch.distill_point import DistillPoint
from diffkd_d2.meta_arch.distilled_model import DistilledModel
from diffkd_d2.modeling.project_file import load_project


class Broken(nn.Module):
    """Of a project: its constructor has a fault."""

    def __init__(self, width: int = 3):
        super().__init__()
        self.width = width["nothing"]


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (L(DiffKD)(student_channels=4, teacher_channels=4, latent_channels=-1), "DiffKD: .*latent_channels is -1"),
        (L(DiffKD)(student_channels=4, teacher_channels=4, latent_channels=0), "latent_channels is 0"),
        (L(DiffKD)(student_channels=4, teacher_channels=4, num_function_evals=0), "is 0, expected 1 to 500"),
        (L(DiffKD)(student_channels=0, teacher_channels=4), "student_channels is 0, expected at least 1"),
        (L(DiffKD)(student_channels=4, teacher_channels=4, logits=True, tau=0), "tau is 0, expected more than 0"),
        (L(DiffKD)(student_channels=4, teacher_channels=4, kd_weight=-1), "kd_weight is -1, expected at least 0"),
        (L(Mimic)(student_channels=4, teacher_channels=-4), "teacher_channels is -4"),
        (L(KD)(tau=float("nan")), "tau is nan"),
        (L(DIST)(tau=-1), "tau is -1"),
        (L(DIST)(inter_weight=-1), "inter_weight is -1"),
        (L(DistillPoint)(student="a", teacher="a", distiller=L(KD)(tau=0)), "KD: .*tau is 0"),
        (L(Mimic)(student_channel=4, teacher_channels=4), "unexpected keyword argument 'student_channel'"),
        (L(torch.optim.SGD)(params=[nn.Parameter(torch.zeros(1))], lr=0.1, momentum=-1), "Invalid momentum value"),
        (L(Broken)(height=3), "unexpected keyword argument 'height'"),
        (L(nn.Conv2d)(in_channels=3, out_channels=-9, kernel_size=3), "Conv2d: RuntimeError: .*negative dimension"),
        (L(get_norm)(norm="XX", out_channels=3), "get_norm: KeyError: 'XX'"),
        (L(FPN)(bottom_up=None, in_features=(), out_channels=3), "FPN: AssertionError: assert isinstance"),
    ],
)
def test_a_wrong_argument_is_one_line_that_says_where(node, message):
    with pytest.raises(UserError, match=message) as error:
        build(node, "model.points")
    assert str(error.value).startswith("model.points: ")


def test_a_project_keeps_its_traceback_under_one_line(capsys):
    node = L(DistillPoint)(student="a", teacher="a", distiller=L(Broken)(width=3))
    with pytest.raises(SystemExit) as end, one_line_errors():
        build(node, "model.points.0")
    error = capsys.readouterr().err
    assert end.value.code == 1
    first, *rest = error.splitlines()
    assert first == f"error: model.points.0: {__name__}.Broken: TypeError: 'int' object is not subscriptable"
    assert any('self.width = width["nothing"]' in line for line in rest)


def test_a_message_of_several_lines_becomes_one(capsys):
    with pytest.raises(SystemExit), one_line_errors():
        raise UserError(
            "config a.py: Value 'int64' is not a primitive type\n    full_key: max_iter\n    object_type=dict"
        )
    assert capsys.readouterr().err == (
        "error: config a.py: Value 'int64' is not a primitive type full_key: max_iter object_type=dict\n"
    )


def test_a_workers_traceback_is_cut_to_its_last_line(capsys):
    with pytest.raises(SystemExit), one_line_errors():
        raise UserError(
            "Caught UserError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n"
            '  File "a.py", line 1, in b\ndiffkd_d2.errors.UserError: image a.png: no such label\n'
        )
    assert capsys.readouterr().err == "error: image a.png: no such label\n"


def broken_points(student, teachers):
    raise ValueError("of a project")


def test_code_of_a_project_below_a_library_is_the_projects():
    with pytest.raises(ProjectError, match="model: .*DistilledModel: ValueError: of a project"):
        build(L(DistilledModel)(student=nn.Identity(), points=broken_points), "model")


CONFIG = """
from detectron2.config import LazyCall as L
from detectron2.config import LazyConfig
from detectron2.data.transforms import RandomFlip
from detectron2.layers import get_norm
from detectron2.modeling.backbone import FPN
from small_data import coco, register_coco, train_loader
def broken(width):
    raise ValueError("in a config")
node = L(broken)(width=3)
"""


def test_a_function_of_a_lazy_config_is_a_users(tmp_path):
    (tmp_path / "config.py").write_text(CONFIG)
    with pytest.raises(ProjectError, match="node: broken: ValueError: in a config"):
        build(LazyConfig.load(str(tmp_path / "config.py")).node, "node")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(names=3), "dataset.names is 3, expected the name of a registered dataset"),
        (dict(names=[]), "dataset.names is empty"),
        (dict(names="set", augmentations=[L(RandomFlip)(horizontal=False)]), "RandomFlip: ValueError: At least one"),
    ],
)
def test_a_loader_that_cannot_be_built_is_one_line(change, message, tmp_path):
    register_coco(tmp_path, coco(), "set")
    node = train_loader(change["names"])
    node.mapper.augmentations = change.get("augmentations", [])
    with pytest.raises(UserError, match=message):
        build_loader(node)


def reads(name):
    return DatasetCatalog.get(name)


def asserts_file(name):
    raise AssertionError(name)


def test_a_loader_of_a_project_names_a_missing_dataset_or_file():
    with pytest.raises(UserError, match="unknown dataset 'coco_2017_trian'; the nearest names: coco_2017_train"):
        build_loader(L(reads)(name="coco_2017_trian"))
    with pytest.raises(UserError, match=r"dataset: a/b\.png is not there \(DETECTRON2_DATASETS is "):
        build_loader(L(asserts_file)(name="a/b.png"))
    with pytest.raises(ProjectError, match="a loader: .*asserts_file.*AssertionError: expected two sizes"):
        build_loader(L(asserts_file)(name="expected two sizes"))


def test_code_of_a_project_file(tmp_path):
    (tmp_path / "evaluates.py").write_text("""import panopticapi.evaluation
from deeplearning.projects.cityscapesApi.cityscapesscripts.helpers import labels
found = panopticapi.evaluation.pq_compute, labels.id2label
""")
    assert len(load_project(str(tmp_path / "evaluates.py")).found) == 2
    (tmp_path / "imports.py").write_text("import no_such_package")
    with pytest.raises(ProjectError, match="imports.py: ModuleNotFoundError: .*'no_such_package'; install it, or put"):
        load_project(str(tmp_path / "imports.py"))


def test_an_evaluator_of_a_project_keeps_its_traceback():
    with pytest.raises(ProjectError, match="evaluator Broken: TypeError"):
        _build_evaluators(L(Broken)(width=3), loader=None, name="here")


class Mapper:
    """Of a project."""

    def __init__(self, error: Exception):
        self.error = error

    def __call__(self, record):
        raise self.error


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_mapper_of_a_project_keeps_its_traceback(num_workers, capsys):
    dataset = Mapped(NamedErrors(Mapper(KeyError("boxes"))))
    loader = torch.utils.data.DataLoader(dataset, num_workers=num_workers, collate_fn=list)
    with pytest.raises(SystemExit) as end, one_line_errors():
        next(iter(loader))
    error = capsys.readouterr().err
    assert end.value.code == 1
    assert error.startswith("error: image a.png (image_id 7): KeyError: 'boxes'")
    assert "raise self.error" in error


def test_file_unreadable_by_the_mapper_is_an_error():
    with pytest.raises(UserError, match="image a.png"):
        NamedErrors(Mapper(FileNotFoundError("a.png")))({"file_name": "a.png"})
    with pytest.raises(UserError, match="image a.png .*no such label"):
        NamedErrors(Mapper(UserError("no such label")))({"file_name": "a.png"})


class Mapped(torch.utils.data.Dataset):
    def __init__(self, mapper):
        self.mapper = mapper

    def __len__(self):
        return 1

    def __getitem__(self, index):
        return self.mapper({"file_name": "a.png", "image_id": 7})
