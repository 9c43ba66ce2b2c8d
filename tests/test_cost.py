"""The cost of a distillation step: counted, so that a pass too many fails here, and as the formulas say."""

from collections import Counter

import pytest
import torch
from cost_model import flop_counter, forward_macs, saved_bytes
from test_diffkd_reference import saved_bytes as kept_by
from test_distilled_model import Net, images
from torch.utils._python_dispatch import TorchDispatchMode

from diffkd_d2.diffusion import batch_norm
from diffkd_d2.distilled_model import DistilledModel, DistillPoint
from diffkd_d2.distillers import DiffKD

OPTIONS = [
    dict(),
    dict(latent_channels=16),
    dict(num_function_evals=1),
    dict(recompute=True),
    dict(latent_channels=16, recompute=True, num_function_evals=3),
]


@pytest.fixture(autouse=True)
def fold_norms(monkeypatch):
    """Treat the small maps of these tests as large ones."""
    monkeypatch.setattr(batch_norm, "FOLDED_FROM", 0)


VIEWS = {"view", "detach", "permute", "t", "transpose", "unsqueeze", "squeeze", "select", "expand"}


class CountOperations(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.count = Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count[function.overloadpacket.__name__] += 1
        return function(*args, **(kwargs or {}))

    def launches(self):
        return sum(n for name, n in self.count.items() if name not in VIEWS)


def pair(height, width, count=2):
    return torch.randn(count, 24, height, width, requires_grad=True), torch.randn(count, 32, height, width)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_multiply_accumulates_are_as_the_formula_says(options):
    distiller, counts = DiffKD(24, 32, **options), []
    for size in ((16, 24), (8, 12)):
        with flop_counter() as counter:
            distiller(*pair(*size))
        counts.append(counter.get_total_flops() // 2)
    # The difference of two sizes leaves out what does not depend on the size: the folding of weights, a linear layer.
    expected = forward_macs(distiller, 2 * 16 * 24) - forward_macs(distiller, 2 * 8 * 12)
    assert counts[0] - counts[1] == expected
    assert counts[0] - forward_macs(distiller, 2 * 16 * 24) < 0.1 * counts[0]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_bytes_kept_for_the_backward_pass_are_as_the_formula_says(options):
    distiller = DiffKD(24, 32, **options)
    maps = [pair(*size) for size in ((16, 24), (8, 12))]
    large, small = (kept_by(lambda m=m: distiller(*m)) for m in maps)
    assert large - small == saved_bytes(distiller, 2 * 16 * 24) - saved_bytes(distiller, 2 * 8 * 12)


def test_a_denoiser_that_the_loss_does_not_train_keeps_less():
    kept = {}
    for trains in (True, False):
        distiller = DiffKD(24, 32, kd_trains_denoiser=trains)
        student, teacher = pair(16, 24)
        kept[trains] = kept_by(lambda d=distiller, s=student: d.refine(s))
    # The input of each of five evaluations, which only gradients of weights read.
    assert kept[True] - kept[False] >= 5 * 4 * teacher.numel()


def test_cost_grows_with_evaluations_by_the_same_amount_each():
    macs = [forward_macs(DiffKD(24, 32, num_function_evals=n), 100) for n in (1, 2, 3, 5)]
    assert macs[3] - macs[2] == 2 * (macs[2] - macs[1]) == 2 * (macs[1] - macs[0]) > 0


def count_a_step():
    distiller = DiffKD(24, 32)
    student, teacher = pair(8, 12)
    with CountOperations() as forward:
        losses = distiller(student, teacher)
    with CountOperations() as backward:
        (losses["loss_kd"] + losses["loss_diffusion"]).backward()
    return forward, backward


def test_operations_of_a_step():
    forward, backward = count_a_step()
    passes = 5 + 1
    # Two 3x3 convolutions for each pass of the denoiser, one in the matcher.
    assert forward.count["convolution"] == backward.count["convolution_backward"] == 2 * passes + 1
    # Products over all positions: 1x1 before each 3x3 and behind both bottlenecks; in the matcher; proj. Small ones:
    # three composed weights and two folded norms for each pass, one norm in the matcher, its pooled map; what the steps
    # of two images add to three of the products.
    assert forward.count["mm"] == 3 * passes + 1 + 1 + (3 + 2) * passes + 1 + 1 + 3
    # What the narrow maps of both bottlenecks add to the second and the last of these.
    assert forward.count["addmm_"] == 3 * passes
    # The covariance of each folded norm; pred. Align.
    assert forward.count["addmm"] == 2 * passes + 1 + 1 and forward.count["baddbmm"] == 1
    # The gradient of the map that enters a pass: one map for three products; none of the latent of the diffusion loss.
    assert backward.count["addmm_"] == 2 * 5
    # Each pass: two in each bottleneck (the third is folded) and the last; two in the matcher; proj; standardise.
    assert forward.count["native_batch_norm"] == 5 * passes + 2 + 1 + 1
    assert backward.count["native_batch_norm_backward"] == 5 * passes + 2 + 1
    # What a layout that changes midway, or a cast, would add.
    assert forward.count["_to_copy"] == 0 and forward.count["clone"] == 2 and backward.count["clone"] == 0
    # Launches, nearly all of them on small matrices.
    assert forward.launches() < 630 and backward.launches() < 790
    assert forward.count["_local_scalar_dense"] == backward.count["_local_scalar_dense"] == 0


def test_operations_of_a_step_on_small_maps(monkeypatch):
    monkeypatch.setattr(batch_norm, "FOLDED_FROM", 2**18)
    forward, backward = count_a_step()
    # No norm is folded: each pass of the denoiser has three in each bottleneck and the last; the matcher has three.
    assert forward.count["native_batch_norm"] == 7 * 6 + 3 + 1 + 1
    assert forward.count["addmm_"] == 0 and forward.count["mm"] == 5 * 6 + 2 + 1 + 3
    assert forward.count["_to_copy"] == 0 and forward.count["clone"] == 2 and backward.count["clone"] == 0
    assert forward.launches() < 445 and backward.launches() < 450


def test_passes_of_a_step_of_the_whole_model():
    points = [DistillPoint("backbone", "backbone", DiffKD(4, 6), key=k) for k in ("p2", "p3")]
    model = DistilledModel(Net(4), Net(6), points).train()
    calls = Counter()
    watched = {"student": model.student.backbone, "teacher": model.teachers[0].backbone}
    watched.update({f"denoiser_{p.name}": p.distiller.denoiser for p in points})
    for name, module in watched.items():
        module.register_forward_hook(lambda m, args, out, name=name: calls.update([name]))
    losses = model(images((32, 32), (32, 32)))
    sum(losses.values()).backward()
    assert calls == {"student": 1, "teacher": 1, "denoiser_p2": 6, "denoiser_p3": 6}
    assert model.teachers[0].head_calls == 0
