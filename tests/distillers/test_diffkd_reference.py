"""The distiller against its plain transcription: the same numbers, for less memory, in a counted number of passes."""

import copy

import pytest
import torch
from memory import saved_bytes
from reference_diffkd import reference_losses
from torch import nn

from diffkd_d2.diffusion import batch_norm
from diffkd_d2.diffusion.batch_norm import BatchNorm2d, FoldedNorm, conv_norm
from diffkd_d2.diffusion.layers import Bottleneck, Conv1x1
from diffkd_d2.diffusion.maps import Implied
from diffkd_d2.distillers import DiffKD
from diffkd_d2.modeling.norm import norm_layer


def randomised(module: nn.Module) -> nn.Module:
    """Give norms weights and biases that a mistake would show."""
    for m in module.modules():
        if isinstance(m, BatchNorm2d):
            nn.init.normal_(m.weight, 1.0, 0.3)
            nn.init.normal_(m.bias, 0.0, 0.3)
    return module


def run(distiller, student, teacher, seed):
    """Return losses, the gradient of their sum at student and parameters, and the buffers."""
    torch.manual_seed(seed)
    student = student.clone().requires_grad_()
    losses = {k: v for k, v in distiller(student, teacher).items() if k.startswith("loss_")}
    sum(losses.values()).backward()
    gradients = {"student": student.grad, **{n: p.grad for n, p in distiller.named_parameters()}}
    distiller.zero_grad()
    return losses, gradients, {n: b.clone() for n, b in distiller.named_buffers()}


def run_reference(distiller, student, teacher, seed, channels):
    torch.manual_seed(seed)
    n, _, h, w = student.shape
    student = student.clone().requires_grad_()
    start, noise = (torch.randn(n, h, w, channels).permute(0, 3, 1, 2) for _ in range(2))
    weights = dict(distiller.named_parameters())
    losses = reference_losses(weights, student, teacher, start, noise, torch.randint(1000, (n,)))
    sum(losses.values()).backward()
    gradients = {"student": student.grad, **{n: p.grad for n, p in weights.items()}}
    distiller.zero_grad()
    return losses, gradients


def assert_equal_gradients(ours, theirs):
    """Compare relative to the largest entry of all: biases before a batch norm have rounding for a gradient."""
    scale = max(g.abs().max() for g in theirs.values())
    for name, gradient in theirs.items():
        assert (ours[name] - gradient).abs().max() < 2e-5 * scale, name
    assert (ours["student"] - theirs["student"]).abs().max() < 2e-4 * theirs["student"].abs().max()


@pytest.fixture(params=[True, False], ids=["large", "small"])
def size(request, monkeypatch) -> None:
    """Treat the maps of a test as large ones, whose norms are folded, and as small ones."""
    monkeypatch.setattr(batch_norm, "FOLDED_FROM", 0 if request.param else 2**18)


@pytest.mark.usefixtures("size")
@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize(("latent", "count"), [(None, 1), (None, 3), (16, 2)])
def test_losses_and_gradients_are_those_of_the_formulas(latent, count, recompute):
    distiller = randomised(DiffKD(24, 32, latent_channels=latent, recompute=recompute))
    distiller.standardize.eval()
    student, teacher = torch.randn(count, 24, 9, 13), torch.randn(count, 32, 9, 13)
    standard = distiller.standardize(teacher)
    expected, gradients = run_reference(distiller, student, standard, 5, latent or 32)
    losses, ours, _ = run(distiller, student, teacher, 5)
    assert set(losses) == set(expected)
    for name, loss in expected.items():
        torch.testing.assert_close(losses[name], loss, rtol=2e-5, atol=1e-6)
    assert_equal_gradients(ours, gradients)


@pytest.mark.usefixtures("size")
def test_recomputation_leaves_the_statistics_as_one_pass_does():
    plain = randomised(DiffKD(8, 16))
    again = copy.deepcopy(plain)
    again.recompute = True
    student, teacher = torch.randn(2, 8, 6, 7), torch.randn(2, 16, 6, 7)
    results = [run(d, student, teacher, 1) for d in (plain, again)]
    for name, buffer in results[0][2].items():
        torch.testing.assert_close(results[1][2][name], buffer, msg=name)
    assert results[0][2]["denoiser.net.3.num_batches_tracked"] == 6
    assert_equal_gradients(results[1][1], results[0][1])


def test_recomputation_keeps_a_third_of_the_references_activations_at_most():
    plain, again = DiffKD(256, 256), DiffKD(256, 256, recompute=True)
    student, teacher = torch.randn(1, 256, 40, 56, requires_grad=True), torch.randn(1, 256, 40, 56)
    noise, t = torch.randn_like(teacher), torch.randint(1000, (1,))
    weights = dict(plain.named_parameters())
    parameters = sum(p.numel() * 4 for p in plain.parameters())
    reference = saved_bytes(lambda: reference_losses(weights, student, teacher, noise, noise, t)) - parameters
    kept = saved_bytes(lambda: plain(student, teacher)) - parameters
    assert kept < reference
    less = saved_bytes(lambda: again(student, teacher)) - parameters
    assert less < reference / 3


def made(implied):
    identity = nn.Conv2d(implied.x.shape[1], implied.x.shape[1], 1)
    nn.init.dirac_(identity.weight)
    nn.init.zeros_(identity.bias)
    return implied.conv1x1(identity)


@pytest.mark.usefixtures("size")
@pytest.mark.parametrize("shifts", [1, 2])
@pytest.mark.parametrize("channels", [8, 64])
def test_a_bottleneck_whose_norm_is_folded_is_the_bottleneck(channels, shifts):
    folded = randomised(Bottleneck(channels, 4, BatchNorm2d))
    plain = copy.deepcopy(folded)
    x, shift = torch.randn(2, channels, 5, 6) + 3, torch.randn(shifts, channels)
    implied = folded(Implied(x, 1.5, shift))
    moved = 1.5 * x + shift[:, :, None, None]
    expected = moved + plain.block(moved)
    torch.testing.assert_close(made(implied), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(implied.mean(), expected.mean(dim=(2, 3)), rtol=1e-4, atol=1e-4)
    conv = Conv1x1(channels, 3)
    torch.testing.assert_close(conv(implied), nn.Conv2d.forward(conv, expected), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(folded.state_dict(), plain.state_dict(), rtol=1e-4, atol=1e-5)
    folded.eval()
    plain.load_state_dict(folded.state_dict())
    plain.eval()
    torch.testing.assert_close(made(folded(Implied(x))), x + plain.block(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shifts", [1, 2])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("momentum", [0.1, None])
def test_a_convolution_and_its_batch_norm_as_one(training, momentum, shifts):
    ours = nn.Sequential(Conv1x1(4, 3), randomised(BatchNorm2d(3, momentum=momentum))).train(training)
    plain = nn.Sequential(nn.Conv2d(4, 3, 1), nn.BatchNorm2d(3, momentum=momentum)).train(training)
    plain.load_state_dict(ours.state_dict())
    for _ in range(2):
        x, shift = torch.randn(2, 4, 5, 6), torch.randn(shifts, 4)
        expected = 0.3 * plain(2 * x + shift[:, :, None, None])
        torch.testing.assert_close(conv_norm(*ours, Implied(x, 2.0, shift), gain=0.3), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours.state_dict(), plain.state_dict())


@pytest.mark.usefixtures("size")
def test_a_graph_that_is_computed_again_serves_several_backward_passes():
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


@pytest.mark.parametrize("of_x", [True, False])
@pytest.mark.parametrize("of_weights", [True, False])
def test_products_made_at_once_have_the_gradient_of_each_alone(of_x, of_weights):
    x = torch.randn(2, 4, 5, 6).requires_grad_(of_x)
    convs = nn.ModuleList(Conv1x1(4, width) for width in (3, 1, 5)).requires_grad_(of_weights)
    outcome = []
    for implied in (Implied(x, 2.0), Implied(x, 2.0).read_by(*convs)):
        outputs = [implied.conv1x1(conv) for conv in convs]
        inputs = [t for t in (x, *(conv.weight for conv in convs)) if t.requires_grad]
        loss = sum((output**3).sum() for output in outputs)
        outcome.append((outputs, torch.autograd.grad(loss, inputs) if inputs else []))
    torch.testing.assert_close(outcome[1], outcome[0])


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("order", [[(5, 7), (1, 1), (1, 3)], [(1, 1), (1, 3), (5, 7)], [(1, 3), (5, 7), (1, 1)]])
def test_one_distiller_for_maps_of_several_sizes(order, recompute, monkeypatch):
    """The gradient of each map is the one it has alone, whatever the others did to the running statistics."""
    monkeypatch.setattr(batch_norm, "FOLDED_FROM", 200)  # of these, the norms of 5x7 are folded
    shared = randomised(DiffKD(6, 8, recompute=recompute))
    shared.standardize.eval()
    for buffer in shared.buffers():
        buffer.add_(torch.rand(buffer.shape).to(buffer.dtype))  # as after some training
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
    results = [run(d, student, teacher, 1) for d in (plain, again)]
    assert_equal_gradients(results[1][1], results[0][1])
    torch.testing.assert_close(results[0][2], results[1][2])


def test_the_gradient_of_the_folded_norm():
    shapes = (16, 3), (5, 3), (5,), (5,), (5,)  # rows, weight, bias of the convolution, gamma, beta
    tensors = [torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    assert torch.autograd.gradcheck(lambda *x: FoldedNorm.apply(*x, 1e-5)[:2], tensors)


def test_without_gradient_steps_the_kd_loss_takes_the_affine_path():
    torch.manual_seed(0)
    distiller = DiffKD(6, 8, grad_steps=0)
    student, teacher = torch.randn(2, 6, 4, 4, requires_grad=True), torch.randn(2, 8, 4, 4)
    loss = distiller(student, teacher)["loss_kd"]
    found = torch.autograd.grad(loss, [student, *distiller.denoiser.parameters()], allow_unused=True)
    assert found[0].abs().sum() > 0 and found[1:] == (None,) * len(found[1:])
    with pytest.raises(ValueError, match="grad_steps"):
        DiffKD(6, 8, grad_steps=6)


def test_the_last_gradient_steps_of_all_are_all():
    full = randomised(DiffKD(6, 8))
    last = copy.deepcopy(full)
    last.grad_steps = 5
    student, teacher = torch.randn(2, 6, 4, 4), torch.randn(2, 8, 4, 4)
    assert_equal_gradients(run(last, student, teacher, 3)[1], run(full, student, teacher, 3)[1])
    last.grad_steps = 1
    one = run(last, student, teacher, 3)
    torch.testing.assert_close(one[0], run(copy.deepcopy(full), student, teacher, 3)[0], rtol=1e-3, atol=1e-3)


def test_a_stride_takes_the_same_positions_of_all_maps():
    distiller = DiffKD(3, 3, stride=2)
    positions = torch.arange(5.0 * 7).view(1, 1, 5, 7)
    seen = set()
    for _ in range(20):
        student, teacher, mask = distiller._subsample(positions, positions + 100, positions > 3)
        assert torch.equal(teacher, student + 100) and torch.equal(mask, student > 3)
        assert student[0, 0, 0, 1] - student[0, 0, 0, 0] == 2 and student[0, 0, 1, 0] - student[0, 0, 0, 0] == 14
        seen.add(student[0, 0, 0, 0].item())
    assert seen == {0, 1, 7, 8}
    out = distiller(torch.randn(2, 3, 1, 9), torch.randn(2, 3, 1, 9))
    assert torch.isfinite(out["loss_kd"])
