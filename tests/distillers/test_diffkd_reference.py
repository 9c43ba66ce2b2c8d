"""The distiller against its plain transcription: losses, gradients, and what recomputation changes."""

import copy

import pytest
import torch
from memory import saved_bytes
from reference_diffkd import reference_losses
from torch import nn

from diffkd_d2.diffusion import BatchNorm2d
from diffkd_d2.distillers import DiffKD
from diffkd_d2.modeling.norm import norm_layer

# Channels of student and teacher, options, batch, height and width.
CASES = {
    "maps": (24, 32, {}, 3, (9, 13)),
    "one image": (24, 32, {}, 1, (9, 13)),
    "one value per channel": (24, 32, {}, 1, (1, 1)),
    "1x1 maps": (24, 32, {}, 16, (1, 1)),
    "autoencoder": (24, 32, {"latent_channels": 16}, 2, (9, 13)),
    "autoencoder, one value": (24, 32, {"latent_channels": 16}, 1, (1, 1)),
    "three evaluations": (24, 32, {"num_function_evals": 3}, 2, (5, 4)),
    "logits": (10, 10, {"logits": True, "tau": 2.0}, 4, (1, 1)),
    "maps of logits": (10, 10, {"logits": True}, 2, (5, 4)),
}


def randomised(module: nn.Module) -> nn.Module:
    """Give norms weights, biases and statistics that a mistake would show."""
    for m in module.modules():
        if isinstance(m, BatchNorm2d):
            nn.init.normal_(m.weight, 1.0, 0.3)
            nn.init.normal_(m.bias, 0.0, 0.3)
            nn.init.normal_(m.running_mean, 0.0, 0.3)
            nn.init.uniform_(m.running_var, 0.5, 2.0)
    return module


def setting(name: str, dtype: torch.dtype = torch.float32, masked: bool = False, **more: object) -> tuple:
    """Return the distiller of a case, with frozen standardisation, and student, teacher and mask."""
    student_channels, teacher_channels, options, count, size = CASES[name]
    distiller = randomised(DiffKD(student_channels, teacher_channels, **options, **more)).to(dtype)
    if distiller.standardize is not None:
        distiller.standardize.eval()
    student = torch.randn(count, student_channels, *size, dtype=dtype)
    teacher = torch.randn(count, teacher_channels, *size, dtype=dtype)
    mask = None
    if masked:
        mask = (torch.rand(count, 1, *size) > 0.4).to(dtype)
        mask[0, 0, 0, 0] = 1
    return distiller, student, teacher, mask


def run(distiller, student, teacher, mask=None, seed=5):
    """Return losses, the gradient of their sum at student and parameters, and the buffers."""
    torch.manual_seed(seed)
    student = student.clone().requires_grad_()
    losses = {k: v for k, v in distiller(student, teacher, mask).items() if k.startswith("loss_")}
    sum(losses.values()).backward()
    gradients = {"student": student.grad, **{n: p.grad for n, p in distiller.named_parameters()}}
    distiller.zero_grad()
    return losses, gradients, {n: b.clone() for n, b in distiller.named_buffers()}


def run_reference(distiller, student, teacher, mask=None, seed=5):
    """Return losses and gradients of the transcription, on the same weights and random numbers."""
    torch.manual_seed(seed)
    n, _, h, w = student.shape
    student = student.clone().requires_grad_()
    channels = distiller.align.out_channels
    start, noise = (torch.randn(n, h, w, channels, dtype=student.dtype).permute(0, 3, 1, 2) for _ in range(2))
    parameters = dict(distiller.named_parameters())
    weights = {**{name: b.clone() for name, b in distiller.named_buffers()}, **parameters}
    if distiller.standardize is not None:
        teacher = distiller.standardize(teacher)
    options = dict(evaluations=len(distiller.timesteps), mask=mask, tau=distiller.tau if distiller.logits else None)
    losses = reference_losses(weights, student, teacher, start, noise, torch.randint(1000, (n,)), **options)
    sum(losses.values()).backward()
    gradients = {"student": student.grad, **{name: p.grad for name, p in parameters.items()}}
    distiller.zero_grad()
    return losses, gradients


def assert_equal_gradients(ours, theirs):
    """Compare relative to the largest entry of all: biases before a batch norm have rounding for a gradient."""
    scale = max(g.abs().max() for g in theirs.values())
    for name, gradient in theirs.items():
        assert (ours[name] - gradient).abs().max() < 2e-5 * scale, name
    assert (ours["student"] - theirs["student"]).abs().max() < 2e-4 * theirs["student"].abs().max()


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_losses_and_gradients_equal_the_formulas_in_float64(case, masked, recompute):
    arguments = setting(case, torch.float64, masked, recompute=recompute)
    expected, gradients = run_reference(*arguments)
    losses, ours, _ = run(*arguments)
    torch.testing.assert_close(losses, expected, rtol=1e-12, atol=1e-12)
    assert gradients["denoiser.time_embedding.weight"].count_nonzero() > 0
    torch.testing.assert_close(ours, gradients, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_losses_equal_the_formulas_in_float32(case, masked):
    arguments = setting(case, masked=masked)
    expected, gradients = run_reference(*arguments)
    losses, ours, _ = run(*arguments)
    torch.testing.assert_close(losses, expected, rtol=1e-6, atol=1e-7)
    assert_equal_gradients(ours, gradients)


@pytest.mark.parametrize("case", ["maps", "autoencoder", "maps of logits"])
def test_losses_and_gradient_are_close_to_the_formulas_in_bfloat16(case):
    arguments = setting(case, masked=True)
    expected, gradients = run_reference(*arguments)
    with torch.autocast("cpu", torch.bfloat16):
        losses, ours, _ = run(*arguments)
    assert all(loss.dtype == torch.float32 for loss in losses.values())
    torch.testing.assert_close(losses, expected, rtol=5e-3, atol=0)
    cosine = torch.cosine_similarity(ours["student"].flatten(), gradients["student"].flatten(), dim=0)
    assert cosine > 0.99


def test_recomputation_updates_statistics_once():
    plain = randomised(DiffKD(8, 16))
    again = copy.deepcopy(plain)
    again.recompute = True
    student, teacher = torch.randn(2, 8, 6, 7), torch.randn(2, 16, 6, 7)
    results = [run(d, student, teacher) for d in (plain, again)]
    for name, buffer in results[0][2].items():
        torch.testing.assert_close(results[1][2][name], buffer, msg=name)
    assert results[0][2]["denoiser.net.3.num_batches_tracked"] == 6
    assert_equal_gradients(results[1][1], results[0][1])


def test_recomputation_keeps_a_third_of_activations():
    plain, again = DiffKD(256, 256), DiffKD(256, 256, recompute=True)
    student, teacher = torch.randn(1, 256, 40, 56, requires_grad=True), torch.randn(1, 256, 40, 56)
    parameters = sum(p.numel() * 4 for p in plain.parameters())
    kept, less = (saved_bytes(lambda d=d: d(student, teacher)) - parameters for d in (plain, again))
    assert less < kept / 3


def test_a_recomputed_graph_serves_several_backward_passes():
    """The report of gradient norms goes back from each loss by itself, and the step follows."""
    distiller = randomised(DiffKD(24, 32, recompute=True))
    student, teacher = torch.randn(1, 24, 6, 7, requires_grad=True), torch.randn(1, 32, 6, 7)
    losses = distiller(student, teacher)
    running = {name: buffer.clone() for name, buffer in distiller.named_buffers()}
    total = losses["loss_kd"] + losses["loss_diffusion"]
    (first,) = torch.autograd.grad(total, [student], retain_graph=True)
    (second,) = torch.autograd.grad(total, [student], retain_graph=True)
    total.backward()
    assert torch.equal(first, second) and torch.equal(first, student.grad) and first.abs().max() > 0
    torch.testing.assert_close(dict(distiller.named_buffers()), running, rtol=0, atol=0)


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("order", [[(5, 7), (1, 1), (1, 3)], [(1, 1), (1, 3), (5, 7)], [(1, 3), (5, 7), (1, 1)]])
def test_one_distiller_for_maps_of_several_sizes(order, recompute):
    """The gradient of each map is the one it has alone, whatever the others did to the running statistics."""
    shared = randomised(DiffKD(6, 8, recompute=recompute))
    shared.standardize.eval()
    apart = [copy.deepcopy(shared) for _ in order]
    torch.manual_seed(3)
    maps = [(torch.randn(1, 6, *size, requires_grad=True), torch.randn(1, 8, *size)) for size in order]
    losses = []
    for distiller, pair in zip(apart, maps, strict=True):
        running = [b.clone() for b in shared.buffers()]
        torch.manual_seed(4)
        losses.append(sum(v for k, v in shared(*pair).items() if k.startswith("loss_")))
        for buffer, now in zip(distiller.buffers(), running, strict=True):
            buffer.copy_(now)
    sum(losses).backward()
    found = [student.grad.clone() for student, _ in maps]
    for distiller, (student, teacher), gradient in zip(apart, maps, found, strict=True):
        student.grad = None
        torch.manual_seed(4)
        sum(v for k, v in distiller(student, teacher).items() if k.startswith("loss_")).backward()
        torch.testing.assert_close(gradient, student.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["SyncBN", "GN"])
def test_recomputation_with_other_norms(name):
    # SyncBN of one process is a batch norm, and needs a GPU in training only where there are several.
    plain = DiffKD(8, 16, norm=norm_layer(name))
    again = copy.deepcopy(plain)
    again.recompute = True
    student, teacher = torch.randn(2, 8, 6, 7), torch.randn(2, 16, 6, 7)
    results = [run(d, student, teacher) for d in (plain, again)]
    assert_equal_gradients(results[1][1], results[0][1])
    torch.testing.assert_close(results[0][2], results[1][2])
