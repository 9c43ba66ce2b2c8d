"""The contract of `DistilledModel`: losses, the teacher, captured modules, pairs of maps."""

import copy
from collections import Counter

import pytest
import torch
from detectron2.layers import ShapeSpec
from nets import Net, images
from omegaconf import OmegaConf
from torch import nn

from diffkd_d2.distillers import DiffKD, Mimic
from diffkd_d2.engine.loaders import check_image_format
from diffkd_d2.errors import UserError
from diffkd_d2.meta_arch.distill_point import DistillPoint
from diffkd_d2.meta_arch.distilled_model import DistilledModel
from diffkd_d2.meta_arch.pairing import pick


def point(key="p2", teacher_key=None, **more):
    return DistillPoint("backbone", "backbone", Mimic(4, 6), key=key, teacher_key=teacher_key, **more)


def test_teacher_is_not_a_submodule_and_is_unchanged():
    teacher = Net(6)
    before = copy.deepcopy(teacher.state_dict())
    model = DistilledModel(Net(4), teacher, [point()]).train()
    losses = model(images((16, 24), (16, 24)))
    sum(losses.values()).backward()
    assert set(losses) == {"loss_task", "loss_kd_p2"}
    assert not teacher.training and teacher.head_calls == 0
    assert all(torch.equal(v, before[k]) for k, v in teacher.state_dict().items())
    ids = {id(p) for p in teacher.parameters()}
    assert not any(id(p) in ids for p in model.parameters())
    assert not any(k.startswith("teacher") for k in model.state_dict())
    assert all(p.grad is not None for p in model.points.parameters())
    assert not any(m._forward_hooks for m in [*model.modules(), *teacher.modules()])
    assert model.double() and next(teacher.parameters()).dtype == torch.float64


def test_every_parameter_of_student_and_distillers_gets_a_gradient():
    distillers = [DiffKD(4, 6, latent_channels=8), DiffKD(4, 6)]
    points = [DistillPoint("backbone", "backbone", d, key=k) for d, k in zip(distillers, ("p2", "p3"), strict=True)]
    model = DistilledModel(Net(4), Net(6), points).train()
    sum(model(images((32, 32), (32, 24))).values()).backward()
    assert [n for n, p in model.named_parameters() if p.grad is None] == []
    assert all(p.grad is None for p in model.teachers[0].parameters())


def test_without_points_equals_the_bare_student():
    bare = Net(4).train()
    model = DistilledModel(copy.deepcopy(bare)).train()
    batch = images((16, 16))
    results = []
    for net in (bare, model):
        loss = net(batch)["loss_task"]
        loss.backward()
        results.append([loss, *(p.grad for p in net.parameters() if p.grad is not None)])
    assert len(results[0]) == len(results[1]) > 3
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_evaluation_returns_the_students_output():
    model = DistilledModel(Net(4), Net(6), [point()]).eval()
    batch = images((16, 16))
    assert torch.equal(model(batch), model.student(batch))


def test_weight_and_scale_multiply_the_kd_loss():
    model = DistilledModel(Net(4), Net(6), [point()]).train()
    batch = images((16, 16))
    plain = model(batch)["loss_kd_p2"]
    model.points[0].distiller.eval()
    model.points[0].weight, model.distill_scale = 3.0, 0.5
    torch.testing.assert_close(model(batch)["loss_kd_p2"], 1.5 * plain)


def test_padding_is_cropped_and_masked():
    model = DistilledModel(Net(4, divisor=8), Net(6, divisor=32), [point(), point("p3")]).train()
    seen = []
    for p in model.points:
        p.distiller.register_forward_pre_hook(lambda m, args: seen.append(args))
    model(images((24, 40), (20, 16)))
    (student, teacher, mask), _ = seen
    assert student.shape[2:] == teacher.shape[2:] == (6, 10)
    assert mask[0].sum() == 60 and mask[1].sum() == 5 * 4


@pytest.mark.parametrize(("student", "teacher", "flipped"), [("BGR", "RGB", True), ("RGB", "RGB", False)])
def test_the_teacher_sees_its_own_channel_order(student, teacher, flipped):
    nets, seen, batch = (Net(4), Net(6)), {}, images((16, 16))
    for net, image_format in zip(nets, (student, teacher), strict=True):
        net.input_format = image_format
        net.register_forward_pre_hook(lambda m, args: seen.update({m: args[0][0]["image"]}))
    DistilledModel(*nets, [point()]).train()(batch)
    image = batch[0]["image"]
    assert torch.equal(seen[nets[0]], image)
    assert torch.equal(seen[nets[1]], image.flip(0) if flipped else image)


def test_formats_that_cannot_be_reordered_are_an_error():
    student, teacher = Net(4), Net(6)
    student.input_format, teacher.input_format = "BGR", "L"
    with pytest.raises(UserError, match="the student wants BGR images, the teacher L"):
        DistilledModel(student, teacher, [point()])


def test_an_index_that_is_not_there_is_told_which_are():
    with pytest.raises(UserError, match="the teacher's output has no '9'; there are: 0, 1"):
        pick(([torch.zeros(1)], [torch.zeros(1)]), (9, 0), "teacher")


def test_a_metric_may_be_a_number():
    outputs = dict(loss_kd=torch.ones(()), share=0.5, count=3, single=torch.ones(1))
    model = DistilledModel(Net(4), Net(6), [returning(**outputs)]).train()
    model(images((32, 32)))
    assert {name: float(value) for name, value in model.metrics.items()} == {
        "share_p2": 0.5,
        "count_p2": 3,
        "single_p2": 1,
    }


def returning(**outputs):
    class Fixed(nn.Module):
        def forward(self, student, teacher, mask=None):
            return outputs

    return DistillPoint("backbone", "backbone", Fixed(), key="p2")


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ([point("p9")], "p9"),
        ([point("p2", "p3")], "different strides"),
        ([point(), point()], "one name"),
        ([DistillPoint("backbon", "backbone", Mimic(4, 6), key="p2")], "nearest names: backbone"),
        ([DistillPoint("backbone", "backbone", Mimic(4, 7), key="p2")], "teacher's feature has 6 channels"),
        ([DistillPoint("backbone", "backbone", Mimic(4, 6))], "give a key"),
        (point(), "points is one point, 'p2', expected a list"),
        ([returning(loss_kd=torch.ones(2))], r"'p2': the distiller's loss_kd is a tensor \(2,\), expected a tensor"),
        ([returning(loss_kd=torch.ones(1))], r"'p2': the distiller's loss_kd is a tensor \(1,\), expected a tensor"),
        ([returning(loss_kd=0.5)], "'p2': the distiller's loss_kd is of type float, expected a tensor"),
        ([returning(loss_kd=torch.ones(()), share=torch.ones(3))], "the distiller's share is a tensor"),
        (
            [returning(loss_kd=torch.ones(()), share=[0.5])],
            "the distiller's share is of type list, expected one number",
        ),
    ],
)
def test_a_wrong_pairing_is_one_clear_line(points, message):
    with pytest.raises(UserError, match=message) as error:
        DistilledModel(Net(4), Net(6), points).train()(images((32, 32)))
    assert "\n" not in str(error.value)


def test_a_subsampled_point_takes_the_same_positions_of_all_maps():
    positions = torch.arange(10.0 * 14).view(1, 1, 10, 14)
    p2, seen = DistillPoint("s", "t", KeepInputs(), stride=4, subsample=2), set()
    for _ in range(20):
        p2(positions, positions + 1000, images((40, 52)))  # the last column of maps of 10x14 is padding
        student, teacher, mask = p2.distiller.inputs
        assert torch.equal(teacher, student + 1000) and torch.equal(mask[0, 0], student[0, 0] % 14 < 13)
        offset = student[0, 0, 0, 0].item()
        assert torch.equal(student, positions[:, :, int(offset) // 14 :: 2, int(offset) % 14 :: 2])
        seen.add(offset)
    assert seen == {0, 1, 14, 15}


def test_a_map_smaller_than_the_step_keeps_a_position():
    p2 = DistillPoint("s", "t", KeepInputs(), stride=4, subsample=3)
    p2(torch.randn(2, 3, 1, 2), torch.randn(2, 3, 1, 2), images((4, 8), (4, 8)))
    assert p2.distiller.inputs[0].shape == (2, 3, 1, 1)


def test_subsampling_wants_maps_and_a_step_of_one_or_more():
    with pytest.raises(UserError, match="point 'p2': subsample is 0"):
        DistillPoint("s", "t", KeepInputs(), key="p2", subsample=0)
    rows = DistillPoint("s", "t", KeepInputs(), name="logits", subsample=2)
    with pytest.raises(UserError, match="point 'logits': subsample is for maps"):
        rows(torch.randn(4, 3), torch.randn(4, 3), images(*[(8, 8)] * 4))


class KeepInputs(nn.Module):
    """A distiller that keeps what it was called with."""

    def forward(self, *inputs):
        self.inputs = inputs
        return {"loss_kd": inputs[0].sum()}


def test_the_number_of_calls_of_each_network():
    points = [DistillPoint("backbone", "backbone", DiffKD(4, 6), key=k) for k in ("p2", "p3")]
    model = DistilledModel(Net(4), Net(6), points).train()
    calls = Counter()
    watched = {"student": model.student.backbone, "teacher": model.teachers[0].backbone}
    watched.update({f"denoiser_{p.name}": p.distiller.denoiser for p in points})
    for name, module in watched.items():
        module.register_forward_hook(lambda m, args, out, name=name: calls.update([name]))
    sum(model(images((32, 32), (32, 32))).values()).backward()
    assert calls == {"student": 1, "teacher": 1, "denoiser_p2": 6, "denoiser_p3": 6}
    assert model.teachers[0].head_calls == 0


def test_points_need_a_teacher():
    with pytest.raises(UserError, match="no teacher"):
        DistilledModel(Net(4), None, [point()])


def test_one_distiller_for_all_levels():
    model = DistilledModel(Net(4), Net(6), [point(subsample=2), point("p3")], shared_distiller=True)
    assert model.points[0].distiller is model.points[1].distiller
    assert [p.subsample for p in model.points] == [2, 1]
    assert {"loss_kd_p2", "loss_kd_p3"} < set(model.train()(images((32, 32))))


def test_a_student_that_states_no_order_gets_the_loaders():
    model = DistilledModel(OneBackbone(), OneBackbone(), [DistillPoint("backbone", "backbone", Mimic(5, 5), key="p2")])
    model.teachers[0].input_format, seen = "RGB", []
    model.teachers[0].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0][0]["image"]))
    check_image_format(OmegaConf.create(dict(mapper=dict(image_format="BGR"))), model.student)
    image = torch.randn(3, 16, 24)
    model.train()([dict(image=image)])
    assert torch.equal(seen[0], image.flip(0))


def test_a_point_may_say_its_stride():
    point = DistillPoint("backbone.conv", "backbone.conv", Mimic(5, 5), stride=4)
    model = DistilledModel(OneBackbone(square=False), OneBackbone(), [point]).train()
    assert "loss_kd_backbone_conv" in model([dict(image=torch.randn(3, 16, 64))])


class SquarePad(nn.Module):
    """A backbone that pads to 64x64 whatever comes, as ViTDet's does, and declares its stride."""

    def __init__(self, square=True, stride=4):
        super().__init__()
        self.conv, self.square, self.stride = nn.Conv2d(3, 5, 1, stride=stride), square, stride

    def forward(self, x):
        if self.square:
            x = nn.functional.pad(x, (0, 64 - x.shape[3], 0, 64 - x.shape[2]))
        return {"p2": self.conv(x)}

    def output_shape(self):
        return {"p2": ShapeSpec(channels=5, stride=self.stride)}


class OneBackbone(nn.Module):
    def __init__(self, **options):
        super().__init__()
        self.backbone = SquarePad(**options)

    def forward(self, inputs):
        return {"loss": self.backbone(torch.stack([x["image"] for x in inputs]))["p2"].mean()}


def test_declared_strides_with_square_padding():
    seen = []
    p2 = DistillPoint("backbone", "backbone", Mimic(5, 5), key="p2")
    p2.distiller.register_forward_pre_hook(lambda module, inputs: seen.append(inputs))
    model = DistilledModel(OneBackbone(square=False), OneBackbone(), [p2]).train()
    inputs = [dict(image=torch.randn(3, 16, 24))]
    model(inputs)
    student, teacher, mask = seen[0]
    assert student.shape == teacher.shape == (1, 5, 4, 6) and mask is None
    expected = model.teachers[0].backbone.conv(inputs[0]["image"][None])
    torch.testing.assert_close(teacher, expected)
    other = DistillPoint("backbone", "backbone", Mimic(5, 5), key="p2")
    with pytest.raises(UserError, match="point 'p2': stride 4 in the student, 8 in the teacher"):
        DistilledModel(OneBackbone(), OneBackbone(stride=8), [other])
