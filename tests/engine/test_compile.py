"""train.compile: the same losses, gradients and statistics, few graphs, the same checkpoints."""

import copy

import pytest
import torch
from torch._dynamo import config as dynamo
from torch._dynamo.utils import counters
from torch._inductor import config as inductor
from torch._inductor.exc import InvalidCxxCompiler

from diffkd_d2.distillers import DiffKD, Mimic
from diffkd_d2.engine import compilation
from diffkd_d2.engine.compilation import compile_distillers
from diffkd_d2.errors import UserError
from diffkd_d2.meta_arch.distill_point import DistillPoint

# No number is one of channels, which would be taken for the same. Above 512 positions torch computes a sum differently.
SIZES = ((17, 20), (15, 23), (13, 22))


@pytest.fixture(autouse=True)
def fresh_compiler():
    """Compile anew, with the setting of `compile_distillers`."""
    torch._dynamo.reset()
    counters.clear()
    with dynamo.patch(specialize_float=True):
        yield
    torch._dynamo.reset()


def step(distiller, student, teacher, seed=1):
    torch.manual_seed(seed)
    student = student.clone().requires_grad_()
    distiller.zero_grad()
    losses = distiller(student, teacher)
    sum(value for name, value in losses.items() if name.startswith("loss_")).backward()
    gradients = {name: p.grad for name, p in distiller.named_parameters()}
    return losses, student.grad, gradients, dict(distiller.named_buffers())


@pytest.mark.slow
def test_compiled_distiller_matches_in_one_graph():
    plain = DiffKD(16, 24, latent_channels=8, num_function_evals=2)
    compiled = copy.deepcopy(plain)
    compiled.compile(dynamic=True, backend="aot_eager")  # all of torch.compile but inductor, which takes a minute
    for size in SIZES:
        student, teacher = torch.randn(2, 16, *size), torch.randn(2, 24, *size)
        torch.testing.assert_close(step(compiled, student, teacher), step(plain, student, teacher))
        assert counters["stats"]["unique_graphs"] == 1
    assert list(compiled.state_dict()) == list(plain.state_dict())


@pytest.mark.slow
@pytest.mark.parametrize("logits", [False, True])
def test_a_distiller_without_norms_compiles(logits):
    plain = DiffKD(16, 24, logits=logits, num_function_evals=1, norm=lambda channels: torch.nn.Identity())
    compiled = copy.deepcopy(plain)
    compiled.compile(dynamic=True, backend="aot_eager")
    maps = torch.randn(2, 16, *SIZES[0]), torch.randn(2, 24, *SIZES[0])
    torch.testing.assert_close(step(compiled, *maps), step(plain, *maps))
    assert counters["stats"]["unique_graphs"] == 1


def test_without_a_compiler_one_line_says_so(monkeypatch):
    def missing():
        raise InvalidCxxCompiler

    monkeypatch.setattr(compilation, "get_cpp_compiler", missing)
    with pytest.raises(UserError, match="needs a C"):
        compile_distillers([DistillPoint("a", "b", DiffKD(4, 4))])


@pytest.mark.slow
def test_points_that_differ_have_graphs_enough():
    points = [DistillPoint("a", "b", Mimic(c, c)) for c in (4, 8, 16)]
    with dynamo.patch(recompile_limit=1, specialize_float=False):
        compile_distillers(points)
        assert dynamo.recompile_limit == 24 and dynamo.specialize_float
        for point, channels in zip(points, (4, 8, 16), strict=True):
            step(point.distiller, *torch.randn(2, 2, channels, *SIZES[0]))
    assert counters["stats"]["unique_graphs"] == 3


def test_recompute_is_refused():
    points = [
        DistillPoint("a", "b", DiffKD(4, 4), name="p3"),
        DistillPoint("a", "b", DiffKD(4, 4, recompute=True), name="p4"),
    ]
    with pytest.raises(UserError, match="point 'p4': train.compile"):
        compile_distillers(points)


@pytest.mark.slow
def test_inductor_compiles_it_for_all_points_and_sizes(monkeypatch):
    monkeypatch.setattr(inductor, "fallback_random", True)  # the noise of a run that is not compiled
    plain = DiffKD(16, 24, latent_channels=8, num_function_evals=1)
    compiled = copy.deepcopy(plain)
    compile_distillers([DistillPoint("a", "b", compiled), DistillPoint("c", "d", compiled)])
    for size in SIZES:
        student, teacher = torch.randn(2, 16, *size), torch.randn(2, 24, *size)
        ours, expected = step(compiled, student, teacher), step(plain, student, teacher)
        torch.testing.assert_close(ours, expected, rtol=1e-3, atol=1e-5)
    assert counters["stats"]["unique_graphs"] == 1
