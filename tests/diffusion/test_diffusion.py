"""The parts of DiffKD against independent references."""

import copy
import math

import pytest
import torch
from diffusers import DDIMScheduler
from torch import nn

from diffkd_d2.diffusion import BatchNorm2d, Conv1x1, Denoiser, NoiseMatcher, NoiseSchedule, Standardize


def reference_scheduler() -> DDIMScheduler:
    return DDIMScheduler(1000, beta_start=1e-4, beta_end=0.02, beta_schedule="linear", clip_sample=False)


def test_add_noise_equals_diffusers():
    x, noise, t = torch.randn(4, 3, 5, 7), torch.randn(4, 3, 5, 7), torch.tensor([0, 10, 500, 999])
    expected = reference_scheduler().add_noise(x, noise, t)
    torch.testing.assert_close(NoiseSchedule().add_noise(x, noise, t), expected, rtol=1e-5, atol=1e-5)


def test_five_step_chain_equals_diffusers():
    schedule, reference = NoiseSchedule(), reference_scheduler()
    reference.set_timesteps(10)
    steps = schedule.sampling_timesteps(5)
    assert steps == [400, 300, 200, 100, 0] == reference.timesteps[5:].tolist()
    ours = theirs = torch.randn(2, 3, 4, 5)
    for t, t_prev in zip(steps, [*steps[1:], -1], strict=True):
        ours = schedule.ddim_step(ours, torch.tanh(ours + t / 1000), t, t_prev)
        theirs = reference.step(torch.tanh(theirs + t / 1000), t, theirs, eta=0.0).prev_sample
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_the_schedule_by_hand_in_float64():
    def alpha_bar(t: int) -> float:
        return math.prod(1 - (1e-4 + i * (0.02 - 1e-4) / 999) for i in range(t + 1))

    schedule = NoiseSchedule()
    for t in (0, 100, 400, 999):
        assert schedule.alphas_cumprod[t].item() == pytest.approx(alpha_bar(t), rel=1e-6)
    assert alpha_bar(400) == pytest.approx(0.194, abs=1e-3)
    # One DDIM step as the paper writes it: the predicted clean sample, then back to the noise of the next step.
    x, noise, now, then = 0.7, -0.3, alpha_bar(400), alpha_bar(300)
    clean = (x - math.sqrt(1 - now) * noise) / math.sqrt(now)
    expected = math.sqrt(then) * clean + math.sqrt(1 - then) * noise
    step = schedule.ddim_step(torch.tensor(x), torch.tensor(noise), 400, 300)
    assert step.item() == pytest.approx(expected, rel=1e-6)
    last = schedule.ddim_step(torch.tensor(x), torch.tensor(noise), 400, -1)
    assert last.item() == pytest.approx(clean, rel=1e-6)


def test_last_step_recovers_the_clean_sample():
    schedule = NoiseSchedule()
    x0, noise = torch.randn(1, 2, 3, 3), torch.randn(1, 2, 3, 3)
    noisy = schedule.add_noise(x0, noise, torch.tensor([300]))
    torch.testing.assert_close(schedule.ddim_step(noisy, noise, 300, -1), x0, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("steps", [0, 501])
def test_number_of_evaluations_out_of_range_is_an_error(steps):
    with pytest.raises(ValueError, match="num_steps"):
        NoiseSchedule().sampling_timesteps(steps)


def test_gamma_one_adds_no_noise_and_gamma_zero_gives_pure_noise():
    matcher = NoiseMatcher(8)
    x, noise = torch.randn(3, 8, 4, 4), torch.randn(3, 8, 4, 4)
    nn.init.zeros_(matcher.pred.weight)
    for bias, expected in (((100.0, 0.0), x), ((0.0, 100.0), noise)):
        matcher.pred.bias.data = torch.tensor(bias)
        blend, gamma = matcher(x, noise)
        torch.testing.assert_close(blend, expected)
        assert gamma.shape == (3,)


def test_standardize_pools_over_batches_and_leaves_padding_out():
    first, second = torch.randn(2, 3, 4, 5) * 7 + 90, torch.randn(1, 3, 6, 2) * 3 - 5
    mask = torch.ones(2, 1, 4, 5)
    mask[1, :, :, 3:] = 0
    module = Standardize(3)
    module(torch.where(mask.bool(), first, torch.tensor(1e4)), mask)
    module(second)
    kept = torch.cat([first[0].flatten(1), first[1, :, :, :3].flatten(1), second[0].flatten(1)], dim=1)
    torch.testing.assert_close(module.mean, kept.mean(dim=1), rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(module.var, kept.var(dim=1, unbiased=False), rtol=1e-3, atol=1e-2)
    before = module.mean.clone()
    module.eval()(torch.randn(1, 3, 2, 2))
    assert torch.equal(module.mean, before)


def test_standardize_is_accurate_if_the_mean_is_far_larger_than_the_variance():
    x = torch.full((2, 3, 1, 1), 4e5) + torch.tensor([0.0, 0.25]).view(2, 1, 1, 1)
    module = Standardize(3)
    assert torch.isfinite(module(x)).all() and torch.isfinite(module(x)).all()
    torch.testing.assert_close(module.var, torch.full((3,), 0.125**2))


def test_denoiser_takes_one_step_for_all_or_one_each():
    denoiser = Denoiser(8).eval()
    x = torch.randn(2, 8, 3, 5)
    torch.testing.assert_close(denoiser(x, torch.tensor([400])), denoiser(x, torch.tensor([400, 400])))
    assert not torch.allclose(denoiser(x, torch.tensor([400])), denoiser(x, torch.tensor([0])))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_conv1x1_equals_torchs_convolution(layout):
    ours = Conv1x1(6, 4)
    torchs = nn.Conv2d(6, 4, 1)
    torchs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 6, 3, 5).to(memory_format=layout).requires_grad_()
    outputs = [conv(x) for conv in (ours, torchs)]
    torch.testing.assert_close(*outputs)
    assert outputs[0].is_contiguous(memory_format=torch.channels_last)
    gradients = [
        torch.autograd.grad(y.pow(3).sum(), [x, *c.parameters()]) for y, c in zip(outputs, (ours, torchs), strict=True)
    ]
    torch.testing.assert_close(*gradients)


def test_batch_norm_of_one_value_per_channel_uses_running_statistics():
    norm = BatchNorm2d(3)
    norm(torch.randn(4, 3, 2, 2))
    x, before = torch.randn(1, 3, 1, 1), copy.deepcopy(norm.state_dict())
    out = norm(x)
    torch.testing.assert_close(norm.state_dict(), before)
    torch.testing.assert_close(out, copy.deepcopy(norm).eval()(x))
    batch = torch.randn(2, 3, 1, 1)
    torch.testing.assert_close(norm(batch).mean(dim=0), torch.zeros(3, 1, 1), atol=1e-6, rtol=0)
