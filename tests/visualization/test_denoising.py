"""The denoising strip shows what the distiller does, and leaves the model as it was."""

import copy

import numpy as np
import torch
from detectors import RETINANET, batch, build, level

from diffkd_d2.distillers import DiffKD, Mimic
from diffkd_d2.engine.undo import unchanged
from diffkd_d2.meta_arch.distill_point import DistillPoint
from diffkd_d2.meta_arch.distilled_model import DistilledModel
from diffkd_d2.visualization.denoising import Pair, denoising_steps, distiller_inputs, strip


def small_model() -> DistilledModel:
    mimic = DistillPoint("backbone", "backbone", Mimic(32, 32), key="p4")
    return DistilledModel(build(RETINANET), build(RETINANET), [level("p3"), mimic]).train()


def test_steps_end_where_the_distiller_ends():
    distiller = DiffKD(4, 6, num_function_evals=3).eval()
    pair = Pair(distiller, torch.randn(2, 4, 8, 8), torch.randn(2, 6, 8, 8), None)
    with torch.no_grad():
        torch.manual_seed(5)
        steps = dict(denoising_steps(pair))
        torch.manual_seed(5)
        noise = torch.randn_like(steps["student"])
        refined, gamma = distiller.refine(pair.student, noise)
    assert list(steps) == ["student", "noisy", "step 332", "step 166", "step 0", "refined", "teacher"]
    torch.testing.assert_close(steps["refined"], refined, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(steps["teacher"], distiller.encode(pair.teacher)[0])
    share = gamma[:, None, None, None]
    torch.testing.assert_close(steps["noisy"], share * steps["student"] + (1 - share) * noise)


def test_distiller_inputs():
    model, inputs = small_model(), batch()
    before, generator = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    with unchanged(model):
        pairs = distiller_inputs(model, inputs)
    assert list(pairs) == ["p3", "p4"] and pairs["p3"].student.shape[:2] == (2, 32)
    assert pairs["p4"].distiller is model.points[1].distiller
    assert not any(point.distiller._forward_pre_hooks for point in model.points)
    assert torch.equal(generator, torch.get_rng_state())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_strip_has_a_row_per_image_and_level():
    model, inputs = small_model(), batch()
    images = [np.zeros((64, 96, 3), np.uint8)] * 2
    with unchanged(model):
        pairs = distiller_inputs(model, inputs)
        figure = strip(pairs, images)
        assert strip({"p4": pairs["p4"]}, images) is None
    axes = np.array(figure.axes).reshape(2, -1)  # p3 alone; p4 is no DiffKD
    assert [axis.get_title() for axis in axes[0]][:3] == ["p3", "student", "noisy"]
    assert axes[0, -1].get_xlabel() == "cos 1.00\nCKA 1.00"
