"""The distillers: who gets which gradient, what padding does, which shapes and types they bear."""

import pytest
import torch

from diffkd_d2.distillers import DiffKD, Mimic


def gradients(loss: torch.Tensor, module: torch.nn.Module) -> set[str]:
    names, params = zip(*module.named_parameters(), strict=True)
    found = torch.autograd.grad(loss, params, allow_unused=True, retain_graph=True)
    return {n.split(".")[0] for n, g in zip(names, found, strict=True) if g is not None and g.abs().sum() > 0}


def test_each_loss_reaches_its_own_parts():
    torch.manual_seed(0)
    distiller = DiffKD(6, 8, latent_channels=4)
    student = torch.randn(2, 6, 8, 8, requires_grad=True)
    out = distiller(student, torch.randn(2, 8, 8, 8))
    assert gradients(out["loss_ae"], distiller) == {"autoencoder"}
    assert gradients(out["loss_diffusion"], distiller) == {"denoiser"}
    assert gradients(out["loss_kd"], distiller) == {"align", "denoiser", "noise_matcher", "proj"}
    assert torch.autograd.grad(out["loss_kd"], student, retain_graph=True)[0].abs().sum() > 0
    assert not out["gamma"].requires_grad


def test_the_denoiser_can_be_kept_from_the_kd_loss_but_the_student_cannot():
    distiller = DiffKD(6, 8, kd_trains_denoiser=False)
    student = torch.randn(2, 6, 8, 8, requires_grad=True)
    loss = distiller(student, torch.randn(2, 8, 8, 8))["loss_kd"]
    assert gradients(loss, distiller) == {"align", "noise_matcher", "proj"}
    assert torch.autograd.grad(loss, student)[0].abs().sum() > 0


def test_the_latent_carries_no_gradient():
    latent, _ = DiffKD(6, 8, latent_channels=4).encode(torch.randn(2, 8, 4, 4))
    assert latent.shape == (2, 4, 4, 4) and not latent.requires_grad


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (7, 2)])
def test_a_batch_of_one_of_any_size(size):
    out = DiffKD(6, 8)(torch.randn(1, 6, *size, requires_grad=True), torch.randn(1, 8, *size))
    assert all(torch.isfinite(v) for v in out.values())


def test_bfloat16_autocast_keeps_losses_in_float32():
    with torch.autocast("cpu", torch.bfloat16):
        out = DiffKD(6, 8, latent_channels=4)(torch.randn(2, 6, 8, 8), torch.randn(2, 8, 8, 8))
    assert all(v.dtype == torch.float32 and torch.isfinite(v) for v in out.values())


def test_logits():
    out = DiffKD(10, 10, logits=True, tau=2.0)(torch.randn(4, 10, requires_grad=True), torch.randn(4, 10))
    assert set(out) == {"loss_kd", "loss_diffusion", "gamma"} and out["loss_kd"] > 0
    with pytest.raises(ValueError, match="autoencoder"):
        DiffKD(10, 10, logits=True, latent_channels=4)


def test_padding_does_not_count():
    torch.manual_seed(0)
    mimic = Mimic(6, 8)
    mask = torch.ones(1, 1, 4, 6)
    mask[..., 4:] = 0
    student, teacher = torch.randn(1, 6, 4, 6), torch.randn(1, 8, 4, 6)
    loss = mimic(student, teacher, mask)["loss_kd"]
    fresh = Mimic(6, 8)
    fresh.align.load_state_dict(mimic.align.state_dict())
    torch.testing.assert_close(loss, fresh(student[..., :4], teacher[..., :4])["loss_kd"])


def test_wrong_channels_are_named():
    with pytest.raises(ValueError, match="teacher's feature has 9 channels, the config says 8"):
        Mimic(6, 8)(torch.randn(1, 6, 2, 2), torch.randn(1, 9, 2, 2))
