"""Pictures of a run at work: there, not blank, and without effect on the training."""

import pytest
import torch
from detectors import FASTER, SEMANTIC, batch, build, level
from detectron2.engine import HookBase
from torch import nn

from diffkd_d2.engine.pictures import PictureHook, predictions
from diffkd_d2.engine.trainer import Trainer
from diffkd_d2.meta_arch.distilled_model import DistilledModel

pytestmark = pytest.mark.slow


class Seed(HookBase):
    """Stands for PositionHook, which seeds every step."""

    def before_step(self) -> None:
        torch.manual_seed(self.trainer.iter)


class Seen(HookBase):
    """Collects the pictures that a writer would write."""

    def __init__(self):
        self.pictures = {}

    def after_step(self) -> None:
        for name, image, iteration in self.trainer.storage._vis_data:
            self.pictures[name, iteration] = image


def train(period: int, config: str = FASTER) -> tuple[nn.Module, dict]:
    torch.manual_seed(0)
    model = DistilledModel(build(config), build(config), [level("p3"), level("p4")]).train()
    trainer = Trainer(model, [batch()] * 9, torch.optim.SGD(model.parameters(), lr=1e-4))
    seen = Seen()
    trainer.register_hooks([Seed(), PictureHook(model, period, ["dog"]), seen])
    trainer.train(0, 4)
    return model, seen.pictures


def test_a_run_is_the_same_with_and_without_pictures():
    (with_them, pictures), (without, none) = train(2), train(0)
    assert not none
    assert sorted(pictures) == [(n, i) for n in ("denoising", "predictions") for i in (1, 3)]
    for image in pictures.values():
        image = torch.as_tensor(image)
        assert image.dtype == torch.uint8 and image.shape[0] == 3 and image.float().std() > 5
    other = without.state_dict()
    assert all(torch.equal(value, other[key]) for key, value in with_them.state_dict().items())


def test_label_maps_are_shown_for_segmentation():
    _, pictures = train(4, SEMANTIC)
    assert torch.as_tensor(pictures["predictions", 3]).float().std() > 5


def test_a_teacher_sees_its_own_channel_order():
    class Recorder(nn.Module):
        def __init__(self, order):
            super().__init__()
            self.input_format = order

        def forward(self, inputs):
            self.seen = inputs[0]["image"]
            return [{"sem_seg": torch.zeros(4, 4)} for _ in inputs]

    student, teacher = Recorder("RGB"), Recorder("BGR")
    image = torch.arange(3)[:, None, None].expand(3, 4, 4).to(torch.uint8)
    predictions(DistilledModel(student, teacher, []), [{"image": image, "sem_seg": torch.zeros(4, 4)}], [])
    assert student.seen.equal(image) and teacher.seen.equal(image.flip(0))
