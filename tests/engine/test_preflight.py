"""What is checked before the first step: weights, window, dead levels, the teacher; and the plan."""

import json
import math
from types import SimpleNamespace

import pytest
import torch
from detectron2.data.common import AspectRatioGroupedDataset
from detectron2.data.samplers import TrainingSampler
from detectron2.evaluation import CityscapesSemSegEvaluator, COCOEvaluator, DatasetEvaluator
from omegaconf import OmegaConf
from torch import nn
from torch.utils.data import DataLoader

from diffkd_d2.distillers import Mimic
from diffkd_d2.engine import teacher_check
from diffkd_d2.engine.class_lists import ClassLists
from diffkd_d2.engine.evaluators import EvaluationSet
from diffkd_d2.engine.launch import make_output_dir
from diffkd_d2.engine.plan import data_lines, log_plan
from diffkd_d2.engine.preflight import Checked, check_weights, check_window, warn_of_missing_loss
from diffkd_d2.engine.report import build_writers
from diffkd_d2.engine.teacher_check import FirstImages, SampleEvaluator, main_metrics, report_teacher
from diffkd_d2.engine.teacher_maps import report_teacher_maps, variance_of, watch_teacher_maps
from diffkd_d2.engine.undo import unchanged
from diffkd_d2.errors import UserError
from diffkd_d2.meta_arch.distill_point import DistillPoint
from diffkd_d2.meta_arch.distilled_model import DistilledModel


def window(max_iter: int = 100, **distill):
    distill = dict(start_iter=0, warmup_iters=0, stop_iter=None, weight=1.0) | distill
    return OmegaConf.create(dict(train=dict(max_iter=max_iter), distill=distill))


def test_the_window_lies_in_the_run(caplog):
    check_window(window(start_iter=99), has_points=True)
    check_window(window(start_iter=100), has_points=False)
    check_window(window(weight=0), has_points=False)
    assert not caplog.records
    check_window(window(weight=0), has_points=True)
    assert caplog.messages == ["distill.weight is 0: loss_kd does nothing"]
    with pytest.raises(UserError, match="distill.start_iter is 100, but the run ends at train.max_iter=100"):
        check_window(window(start_iter=100), has_points=True)
    with pytest.raises(UserError, match="distill.stop_iter is 5, expected more than distill.start_iter, 5"):
        check_window(window(start_iter=5, stop_iter=5), has_points=False)
    for late in (dict(warmup_iters=100), dict(start_iter=10, warmup_iters=20, stop_iter=30)):
        caplog.clear()
        check_window(window(**late), has_points=True)
        assert "never reaches its full weight" in caplog.text


def test_weights_of_points(caplog):
    points = [SimpleNamespace(name="p3", weight=w) for w in (1.0, 0)]
    check_weights(SimpleNamespace(points=points))
    assert "point 'p3' has the weight 0" in caplog.text
    for wrong in (-1.0, math.nan, math.inf):
        with pytest.raises(UserError, match="point 'p3': its weight is"):
            check_weights(SimpleNamespace(points=[SimpleNamespace(name="p3", weight=wrong)]))


def test_a_point_without_loss_kd_is_named(caplog):
    model = SimpleNamespace(loss_to_point={"loss_kd_p3": "p3", "loss_ae_p3": "p3", "loss_aux_p4": "p4"})
    warn_of_missing_loss(model)
    assert [m.partition(",")[0] for m in caplog.messages] == ["point 'p4' has no loss_kd"]


def test_a_plan_with_detectron2s_grouped_loader():
    loader = DataLoader([dict(width=4, height=3)], sampler=TrainingSampler(1), batch_size=None)
    with pytest.raises(TypeError):
        len(loader)
    assert data_lines(AspectRatioGroupedDataset(loader, 2)) == ["a loader that does not say what it reads"]
    assert data_lines(DataLoader([1, 2, 3])) == ["3 images"]


def test_variances_by_hand():
    # Mean square 2.5; over positions 0.25; between images 4 at one position, 0 at the other.
    feature = torch.tensor([[[[1.0, 2.0]]], [[[1.0, 2.0]]]])
    found = variance_of(feature)
    assert (found.positions, found.images) == (pytest.approx(0.1), 0.0)
    feature[1, 0, 0, 0] = -1.0
    assert variance_of(feature).images == pytest.approx(0.5 / 2.5)
    assert variance_of(feature[:1]).images is None
    rows = variance_of(torch.tensor([[3.0], [1.0]]))
    assert (rows.positions, rows.images) == (None, pytest.approx(1 / 5))


def test_padding_does_not_count_in_the_variances():
    feature, mask = torch.randn(2, 3, 4, 6), torch.ones(2, 1, 4, 6)
    expected = variance_of(feature[..., :4])
    mask[..., 4:] = 0
    feature[..., 4:] = 1e6
    found = variance_of(feature, mask)
    assert (found.positions, found.images) == (pytest.approx(expected.positions), pytest.approx(expected.images))


class Images(nn.Module):
    """Returns its images, or the same map for each of them."""

    def __init__(self, dead: bool):
        super().__init__()
        self.dead, self.map = dead, nn.Identity()
        self.norm = nn.BatchNorm2d(2)

    def forward(self, inputs):
        x = torch.stack([x["image"] for x in inputs])
        x = self.map(torch.full_like(x, 3.0) + 0.01 * x if self.dead else x)
        return {"loss": self.norm(x).square().mean() * torch.rand(())}


@pytest.fixture
def batch():
    return [dict(image=torch.randn(2, 8, 8)) for _ in range(2)]


@pytest.mark.parametrize(("dead", "shared"), [(True, False), (False, False), (False, True)])
def test_dead_level_is_a_warning(dead, shared, batch, caplog):
    points = [DistillPoint("map", "map", Mimic(2, 2), name=name) for name in ("a", "b")]
    model = DistilledModel(Images(False), Images(dead), points, shared_distiller=shared)
    with caplog.at_level("INFO"), watch_teacher_maps(model.points) as maps:
        model.train()(batch)
    assert list(maps) == ["a", "b"] and maps["a"][0].shape == (2, 2, 8, 8)
    with caplog.at_level("INFO"):
        report_teacher_maps(maps)
    assert "point 'a': the teacher's map (2, 2, 8, 8) varies by" in caplog.text
    assert ("DEAD LEVEL: the teacher's map at point 'b'" in caplog.text) == dead
    assert not model.points[0].distiller._forward_pre_hooks


def test_a_trial_leaves_nothing_behind(batch):
    model = DistilledModel(Images(False), Images(False), [DistillPoint("map", "map", Mimic(2, 2))]).train()
    before, state = [b.clone() for b in model.buffers()], torch.get_rng_state()
    with unchanged(model):
        sum(model(batch).values()).backward()
        assert any(not torch.equal(a, b) for a, b in zip(before, model.buffers(), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(before, model.buffers(), strict=True))
    assert torch.equal(state, torch.get_rng_state()) and model.metrics == {}
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize(
    ("results", "classes", "warned"),
    [
        ({"bbox": {"AP": 0.99}}, None, True),
        ({"bbox": {"AP": 1.0}}, None, False),
        ({"bbox": {"AP": math.nan}}, None, True),
        ({"sem_seg": {"mIoU": 0.5}}, None, True),
        ({"cls": {"top1": 19.9}}, 10, True),
        ({"cls": {"top1": 20.0}}, 10, False),
        ({"bbox": {"AP": 40.0}, "segm": {"AP": 0.1}}, 80, True),
    ],
)
def test_a_teacher_that_knows_nothing_is_a_warning(results, classes, warned, caplog):
    with caplog.at_level("INFO"):
        report_teacher(results, classes)
    assert ("IT HAS NOTHING TO TEACH" in caplog.text) == warned
    assert "the teacher has" in caplog.text


def test_the_teacher_is_checked_on_every_test_set(tmp_path, monkeypatch, caplog):
    sets = [EvaluationSet(name, [], []) for name in ("first", "second")]
    monkeypatch.setattr(teacher_check, "build_teacher_sets", lambda cfg, teacher: sets)
    monkeypatch.setattr(teacher_check, "evaluate_sample", lambda model, s, n: {"bbox": {"AP": n + len(s.name)}})
    cfg = OmegaConf.create(dict(train=dict(output_dir=str(tmp_path)), distill=dict(teacher_check=7)))
    with caplog.at_level("INFO"):
        teacher_check.check_teachers(cfg, [nn.Identity()])
    assert "first bbox AP 12.00" in caplog.text and "second bbox AP 13.00" in caplog.text
    assert set(json.loads((tmp_path / "results_teacher_check.json").read_text())) == {"first", "second"}


def test_a_teacher_of_other_classes_is_not_checked(tmp_path, monkeypatch):
    teacher = nn.Identity()
    teacher.num_classes = 20
    loader = SimpleNamespace(class_names={"things": ["a", "b"]})
    monkeypatch.setattr(teacher_check, "build_teacher_sets", lambda cfg, t: [EvaluationSet("set", loader, [])])
    with pytest.raises(UserError, match="teacher_check must be 0 .*the model has 20 classes, the test data set 2"):
        teacher_check.check_teachers(OmegaConf.create(dict(distill=dict(teacher_check=7))), [teacher])


def test_main_metrics():
    results = {"bbox": {"AP": 3.0, "AP50": 9.0}, "cls": {"top1": 5.0}, "mine": {"x": 1}, "segm": {"AP": None}}
    assert main_metrics(results) == {"bbox": ("AP", 3.0), "cls": ("top1", 5.0)}
    of_two_sets = {"first": dict(bbox=dict(AP=1.0)), "second": dict(bbox=dict(AP=2.0, AP50=9.0))}
    assert main_metrics(of_two_sets) == {"first bbox": ("AP", 1.0), "second bbox": ("AP", 2.0)}


def test_student_reaching_its_teacher_is_logged(tmp_path, caplog):
    student = {"bbox": {"AP": 30.0}, "bbox_ema": {"AP": 31.0}, "segm": {"AP": 10.0}}
    teacher_check.report_teacher_reached(student, tmp_path)  # the teacher's are not known
    assert not caplog.records
    (tmp_path / "results_teacher_check.json").write_text(json.dumps({"bbox": {"AP": 50.0}}))
    teacher_check.report_teacher_reached(student, tmp_path)
    assert not caplog.records
    (tmp_path / "results_teacher.json").write_text(json.dumps({"bbox": {"AP": 30.0}, "segm": {"AP": 20.0}}))
    teacher_check.report_teacher_reached(student, tmp_path)
    assert "the student has reached its teacher: bbox AP 30.00, the teacher's 30.00" in caplog.text
    assert "segm" not in caplog.text


def test_the_first_images_of_a_loader():
    loader = torch.utils.data.DataLoader(list(range(10)), batch_size=4)
    assert [len(x) for x in FirstImages(loader, 5)] == [4, 4] and len(FirstImages(loader, 5)) == 2
    assert len(FirstImages(loader, 99)) == 3


def test_a_sample_is_judged_alone():
    class Coco(COCOEvaluator):
        def __init__(self):
            self.asked = None

        def reset(self):
            pass

        def process(self, inputs, outputs):
            pass

        def evaluate(self, img_ids=None):
            self.asked = img_ids
            return {}

    class Other(DatasetEvaluator):
        def evaluate(self):
            return {"other": 1}

    coco = SampleEvaluator(Coco())
    coco.reset()
    coco.process([{"image_id": 7}, {"image_id": 3}], [])
    coco.evaluate()
    assert coco.evaluator.asked == [3, 7]
    assert SampleEvaluator(Other()).evaluate() == {"other": 1}


def test_the_plan(batch, caplog):
    points = [DistillPoint("map", "map", Mimic(2, 2), name="here", weight=2.0, stride=4)]
    model = DistilledModel(Images(False), Images(False), points)
    before = [p.clone() for p in model.parameters()]
    cfg = window(max_iter=100, start_iter=10, warmup_iters=5)
    cfg.train.device, cfg.train.amp = "cpu", dict(dtype=None)
    cfg.dataloader = dict(train=dict(dataset=dict(names=["nowhere"])))
    crowd = dict(category_id=0, iscrowd=1)
    records = [dict(annotations=[dict(category_id=1)] * 2), dict(annotations=[dict(category_id=0), crowd]), dict()]
    train = SimpleNamespace(records=records, left_out={"annotations: the box has no area": 3})
    test_sets = [EvaluationSet("here", SimpleNamespace(dataset=range(7)), [])]
    with watch_teacher_maps(model.points) as maps:
        model.train()(batch)
    with caplog.at_level("INFO"):
        log_plan(cfg, model, train, test_sets, Checked([batch], maps, ClassLists({})), start_iter=20)
    for line in (
        "distillers: ModuleList, 0.00 M parameters",
        "train nowhere: 3 images, 3 boxes, 1 crowd regions",
        "train nowhere: boxes per class: 0 1, 1 2",
        "train nowhere: left out: 3 annotations: the box has no area",
        "test here: 7 images",
        "here: map <- map, Mimic, weight 2, stride 4, teacher's (2, 2, 8, 8)",
        "iterations 20 to 99; loss_kd acts in iterations 10 to 99, rising over 5",
        "s forward and backward without the optimizer",
    ):
        assert line in caplog.text, line
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_the_output_folder_is_a_file_or_below_one(tmp_path):
    make_output_dir(str(tmp_path / "a" / "b"))
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UserError, match=f"train.output_dir is '{path}'"):
            make_output_dir(str(path))


def test_without_tensorboard_the_other_writers_write(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert [type(w).__name__ for w in build_writers(str(tmp_path), 5)] == ["CommonMetricPrinter", "JSONWriter"]
    assert "pip install tensorboard" in caplog.text


def test_evaluators_of_the_whole_dataset_do_not_judge_a_sample(caplog):
    whole = object.__new__(CityscapesSemSegEvaluator)
    assert teacher_check.evaluate_sample(nn.Identity(), EvaluationSet("set", [], [whole]), 4) == {}
    assert "CityscapesSemSegEvaluator cannot judge a part of the images" in caplog.text
