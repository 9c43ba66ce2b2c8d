"""What distillers may ask for: boxes, labels, scores, several levels; and what is refused."""

from types import SimpleNamespace

import pytest
import torch
from detectors import CASCADE, CLASSES, FASTER, batch, build
from detectron2.structures import Boxes, pairwise_iou
from detectron2.utils.events import EventStorage
from nets import Net, images
from torch import nn

from diffkd_d2.classification.classifier import Classifier
from diffkd_d2.errors import UserError
from diffkd_d2.meta_arch.distill_point import DistillPoint
from diffkd_d2.meta_arch.distilled_model import DistilledModel
from diffkd_d2.meta_arch.distiller_inputs import _pairwise_iou, labels_of_rows
from diffkd_d2.meta_arch.roi_branch import RoiBranch


class Recorder(nn.Module):
    """A distiller that keeps what it gets."""

    def __init__(self, *needs, outputs=None):
        super().__init__()
        self.needs, self.outputs = needs, outputs

    def forward(self, student, teacher, mask=None, **needed):
        self.student, self.teacher, self.mask, self.needed = student, teacher, mask, needed
        first = student if torch.is_tensor(student) else student[0]
        return {"loss_kd": first.mean()} if self.outputs is None else self.outputs


def point(distiller, key="p2", **more):
    return DistillPoint("backbone", "backbone", distiller, key=key, **more)


def run(distiller, inputs, **more):
    DistilledModel(Net(4), Net(6), [point(distiller, **more)]).train()(inputs)
    return distiller


def with_boxes(inputs, *boxes):
    for x, of_image in zip(inputs, boxes, strict=True):
        x["instances"] = SimpleNamespace(gt_boxes=SimpleNamespace(tensor=torch.tensor(of_image).view(-1, 4)))
    return inputs


def test_boxes_come_in_positions_of_the_map():
    """The map of p2 has stride 4, whatever the padding of the batch."""
    inputs = with_boxes(images((16, 24), (32, 20)), [[2.0, 4, 10, 12], [0, 0, 24, 16]], [])
    boxes = run(Recorder("boxes"), inputs).needed["boxes"]
    torch.testing.assert_close(boxes[0], torch.tensor([[0.5, 1, 2.5, 3], [0, 0, 6, 4]]))
    assert boxes[1].shape == (0, 4)
    boxes = run(Recorder("boxes"), inputs, key="p3").needed["boxes"]
    torch.testing.assert_close(boxes[0][0], torch.tensor([0.25, 0.5, 1.25, 1.5]))


def test_scores_are_the_teachers_largest_probability():
    teacher = Net(6, divisor=32)
    teacher.head = nn.Conv2d(6, 3, 1)
    teacher.norm = nn.BatchNorm2d(3)
    recorder = Recorder("scores")
    inputs = images((24, 40))
    DistilledModel(Net(4), teacher, [point(recorder, scores=("head", None))]).train()(inputs)
    logits = teacher.head(recorder.teacher)
    torch.testing.assert_close(recorder.needed["scores"], logits.sigmoid().amax(1, keepdim=True), rtol=1e-5, atol=1e-6)
    assert recorder.needed["scores"].shape == (1, 1, 6, 10) and not recorder.needed["scores"].requires_grad


def test_label_maps_come_at_the_maps_size():
    inputs = images((16, 24), (10, 20))
    for x in inputs:
        height, width = x["image"].shape[1:]
        x["sem_seg"] = torch.arange(height)[:, None].expand(height, width)
    labels = run(Recorder("labels"), inputs).needed["labels"]
    assert labels.shape == (2, 1, 4, 6) and labels.dtype == torch.int64
    assert labels[0, 0, :, 0].tolist() == [0, 4, 8, 12]
    assert labels[1, 0, :, 0].tolist() == [0, 4, 8, 255] and labels[1, 0, 0].tolist() == [0] * 5 + [255]


def test_a_classifiers_targets():
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 5))
    models = [Classifier(network, num_classes=5, pixel_mean=(0, 0, 0), pixel_std=(1, 1, 1)) for _ in range(2)]
    recorder = Recorder("labels")
    model = DistilledModel(*models, [DistillPoint("logits", "logits", recorder)]).train()
    model([dict(image=torch.randn(3, 8, 8), label=label) for label in (3, 1)])
    assert recorder.needed["labels"].tolist() == [3, 1]
    model({"image": torch.randn(2, 3, 8, 8), "label": torch.tensor([0, 4])})
    assert recorder.needed["labels"].tolist() == [0, 4]


def sampled_classes(heads) -> list[list[torch.Tensor]]:
    """Return what fills up with the classes that Detectron2 gives the boxes of each stage."""
    stages = []

    def record(function):
        def recorded(*args):
            proposals = function(*args)
            stages.append([p.gt_classes.clone() for p in proposals])
            return proposals

        return recorded

    heads.label_and_sample_proposals = record(heads.label_and_sample_proposals)
    if hasattr(heads, "_match_and_label_boxes"):
        heads._match_and_label_boxes = record(heads._match_and_label_boxes)
    return stages


@pytest.mark.parametrize(("config", "stages"), [(FASTER, 1), (CASCADE, 3)])
def test_labels_of_roi_rows(config, stages):
    student, teacher = build(config), build(config)
    recorders = [Recorder("labels") for _ in range(stages)]
    module = "roi_heads.box_predictor" if stages == 1 else "roi_heads.box_predictor.{}"
    points = [
        DistillPoint(module.format(k), "backbone", recorder, key=0, roi=RoiBranch("box", k), name=f"stage{k}")
        for k, recorder in enumerate(recorders)
    ]
    expected = sampled_classes(student.roi_heads)
    inputs = batch()
    empty = dict(inputs[0], instances=inputs[0]["instances"][:0])
    with EventStorage():
        DistilledModel(student, teacher, points).train()([*inputs, empty])
    for recorder, of_stage in zip(recorders, expected, strict=True):
        assert recorder.needed["labels"].tolist() == torch.cat(of_stage).tolist()
        assert len(recorder.student) == len(recorder.needed["labels"])
    classes = set(torch.cat(expected[0]).tolist())
    assert {1, 2, CLASSES} <= classes  # both objects and the background


def test_the_overlap_of_boxes():
    a, b = (torch.rand(9, 4).mul(50) + torch.tensor([0.0, 0, 50, 50]) for _ in range(2))
    assert torch.equal(_pairwise_iou(a, b), pairwise_iou(Boxes(a), Boxes(b)))
    apart = torch.tensor([[0.0, 0, 1, 1]])
    assert _pairwise_iou(apart, apart + 5).item() == 0


def test_levels_come_as_lists():
    recorder = Recorder()
    inputs = images((24, 40), (20, 16))
    model = DistilledModel(Net(4), Net(6, divisor=32), [point(recorder, None, levels=("p2", "p3"))]).train()
    assert "loss_kd_backbone" in model(inputs)
    assert [tuple(x.shape[2:]) for x in recorder.student] == [(6, 10), (3, 5)]
    assert [tuple(x.shape[1:]) for x in recorder.teacher] == [(6, 6, 10), (6, 3, 5)]
    assert [int(x[1].sum()) for x in recorder.mask] == [5 * 4, 3 * 2]


def test_subsample_thins_all_maps_alike():
    """A position of one is a position of all: the teacher's map is compared with its scores and labels."""
    teacher, recorder = Net(6), Recorder("labels", "scores")
    inputs = images((24, 40), (20, 16))
    for x in inputs:
        x["sem_seg"] = torch.arange(x["image"][0].numel()).view(x["image"].shape[1:])
    points = [point(recorder, subsample=2, scores=("head", None))]
    model = DistilledModel(Net(4), teacher, points).train()
    for _ in range(3):
        model(inputs)
        assert recorder.student.shape == (2, 4, 3, 5) and recorder.mask.shape == (2, 1, 3, 5)
        torch.testing.assert_close(recorder.needed["scores"], teacher.head(recorder.teacher).sigmoid())
        labels = recorder.needed["labels"][0, 0]
        y, x = labels[0, 0].item() // 40 // 4, labels[0, 0].item() % 40 // 4
        assert {y, x} <= {0, 1} and labels[1, 1].item() == 40 * 4 * (y + 2) + 4 * (x + 2)
        assert recorder.mask[1].sum() == len(range(y, 5, 2)) * len(range(x, 4, 2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(distiller=Recorder("box")), "Recorder needs 'box'; the nearest names: boxes"),
        (dict(distiller=Recorder("scores")), "needs scores="),
        (dict(distiller=Recorder(), scores=("head", None)), "takes no scores"),
        (dict(distiller=Recorder("scores"), scores=("haed", None)), "no module 'haed'; the nearest names: head"),
        (dict(distiller=Recorder("boxes"), key=None, levels=("p2", "p3")), "needs boxes, which levels exclude"),
        (dict(distiller=Recorder("boxes"), subsample=2), "needs boxes, which subsample excludes"),
        (dict(distiller=Recorder(), levels=("p2", "p3")), "levels exclude key"),
        (dict(distiller=Recorder(), key=None, levels=("p2", "p3"), subsample=2), "levels exclude .* subsample"),
        (dict(distiller=Recorder(), subsample=0), "subsample is 0"),
        (dict(distiller=Recorder("scores"), scores="head"), "scores is 'head', expected a module and a key"),
        (dict(distiller=Recorder(), key=None, levels="p3"), "levels is 'p3', expected a list"),
        (dict(distiller=Recorder), "distiller is <class .*, expected a module"),
    ],
)
def test_conflicting_options_are_an_error_before_training(options, message):
    with pytest.raises(UserError, match=message) as error:
        DistilledModel(Net(4), Net(6), [point(**options)])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("outputs", "message"),
    [({}, r"returned \[\], expected a dict"), ({"kd": 0}, r"returned \['kd'\]"), (torch.ones(()), "returned a Tensor")],
)
def test_a_distiller_without_a_loss_is_an_error(outputs, message):
    with pytest.raises(UserError, match=f"point 'p2': the distiller {message}"):
        run(Recorder(outputs=outputs), images((16, 16)))


@pytest.mark.parametrize("need", ["boxes", "labels"])
def test_missing_inputs_of_a_distiller_are_an_error(need):
    with pytest.raises(UserError, match=f"point 'p2': the distiller needs {need}"):
        run(Recorder(need), images((16, 16)))


class Returns(nn.Module):
    """A model whose `head` returns a tensor of a given shape."""

    def __init__(self, *shape):
        super().__init__()
        self.head, self.shape = nn.Identity(), shape

    def forward(self, inputs):
        return {"loss": self.head(torch.zeros(self.shape, requires_grad=self.training)).sum()}


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((2, 300, 80), "neither maps .* nor rows .* query logits"),
        ((6, 2, 300, 80), "not one entry for each of 2 images: stacks of layers"),
        ((2, 197, 768), "tokens cannot be paired"),
        ((6, 2, 3, 300, 80), "neither maps"),
        ((512, 81), "rows of boxes need roi="),
    ],
)
def test_axes_are_not_guessed(shape, message):
    recorder = Recorder()
    model = DistilledModel(Returns(*shape), Returns(*shape), [DistillPoint("head", "head", recorder)]).train()
    with pytest.raises(UserError, match=rf"point 'head': the student's output \({shape[0]}, .*{message}"):
        model(images((64, 96), (96, 64)))


def test_rotated_boxes_have_no_labels():
    heads = SimpleNamespace(proposal_matcher=None, num_classes=2)
    inputs = [{"instances": SimpleNamespace(gt_boxes=None, gt_classes=None)}]
    with pytest.raises(UserError, match="rotated boxes: take kd, lskd or dist"):
        labels_of_rows(heads, 0, [SimpleNamespace(tensor=torch.zeros(3, 5))], inputs)
