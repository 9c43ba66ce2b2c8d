"""Masked positions do not count in any method."""

import copy

import pytest
import torch
from methods import NAMES, case, masks

SHAPE, VALID = (12, 16), (9, 11)
# Its norms and 3x3 convolutions see padded positions, as DiffKD's do.
CROPPED = [name for name in NAMES if name != "DeepMimic"]


@pytest.mark.parametrize("name", CROPPED)
def test_a_masked_map_gives_what_the_cropped_map_gives(name):
    made = case(name, SHAPE, torch.float64)
    if name == "MaskedGenerative":
        made.distiller.ratio = 0.0  # what is erased depends on the size
    alone = made._replace(distiller=copy.deepcopy(made.distiller))
    losses = [
        made.loss(masks([VALID, VALID], SHAPE, len(made.student)))["loss_kd"],
        alone.loss([None] * len(made.student), VALID)["loss_kd"],
    ]
    assert losses[0].item() == pytest.approx(losses[1].item(), rel=1e-9)
    gradients = []
    for loss, distiller in zip(losses, (made.distiller, alone.distiller), strict=True):
        gradients.append(torch.autograd.grad(loss, [*made.student, *distiller.parameters()]))
    assert all(torch.any(g != 0) for g in gradients[0][: len(made.student)])
    for padded, cropped in zip(*gradients, strict=True):
        torch.testing.assert_close(padded, cropped, rtol=1e-8, atol=1e-10)
    for padded, cropped in zip(made.distiller.buffers(), alone.distiller.buffers(), strict=True):
        torch.testing.assert_close(padded, cropped)


@pytest.mark.parametrize("garbage", [1e4, float("inf"), float("nan")])
@pytest.mark.parametrize("name", NAMES)
def test_values_at_masked_positions_do_not_matter(name, garbage):
    made = case(name, SHAPE)
    padding = masks([VALID, (6, 16)], SHAPE, len(made.student))
    results = []
    for fill in (0.0, garbage):
        with torch.no_grad():
            for feature, mask in zip([*made.student, *made.teacher], padding * 2, strict=True):
                feature.masked_fill_(mask == 0, fill)
            if "scores" in made.needed:
                made.needed["scores"].masked_fill_(padding[0] == 0, fill)
        torch.manual_seed(1)
        distiller = copy.deepcopy(made.distiller)
        loss = made._replace(distiller=distiller).loss(padding)["loss_kd"]
        results.append([loss, *torch.autograd.grad(loss, [*made.student, *distiller.parameters()])])
        assert all(torch.isfinite(x).all() for x in results[-1])
    for zero, other in zip(*results, strict=True):
        torch.testing.assert_close(other, zero, rtol=0, atol=0)
    for gradient, mask in zip(results[1][1:], padding, strict=False):
        assert not gradient.masked_select(mask == 0).any()


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_with_only_masked_positions_has_zero_loss(name):
    """One masked row stands in for an ROI head without boxes."""
    made = case(name, SHAPE, images=1)
    loss = made.loss(masks([(0, 0)], SHAPE, len(made.student)))["loss_kd"]
    gradients = torch.autograd.grad(loss, [*made.student, *made.distiller.parameters()])
    assert loss == 0 and all(torch.isfinite(g).all() for g in gradients)


@pytest.mark.parametrize("shape", [(1, 1), (1, 3), (7, 2)])
@pytest.mark.parametrize("name", NAMES)
def test_small_maps(name, shape):
    made = case(name, shape, images=1)
    loss = made.loss([None] * len(made.student))["loss_kd"]
    gradients = torch.autograd.grad(loss, made.student)
    assert torch.isfinite(loss) and all(torch.isfinite(g).all() for g in gradients)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_bfloat16_autocast(name, masked):
    """Losses are float32, close to what they are without autocast, and half-precision inputs are taken."""
    made = case(name, SHAPE)
    padding = masks([VALID, (12, 16)], SHAPE, len(made.student)) if masked else [None] * len(made.student)
    torch.manual_seed(1)
    exact = copy.deepcopy(made).loss(padding)["loss_kd"]
    half = made._replace(student=[x.bfloat16() for x in made.student], teacher=[x.bfloat16() for x in made.teacher])
    torch.manual_seed(1)
    with torch.autocast("cpu", torch.bfloat16):
        outputs = half.loss(padding)
    assert all(v.dtype == torch.float32 for v in outputs.values())
    assert outputs["loss_kd"].item() == pytest.approx(exact.item(), rel=0.1)
    torch.autograd.grad(outputs["loss_kd"], made.student)
