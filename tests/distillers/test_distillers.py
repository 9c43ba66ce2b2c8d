"""The distillers: which parameters each loss trains, masked padding, accepted shapes and dtypes."""

import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from diffkd_d2.distillers import DIST, KD, DiffKD, Mimic


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


@pytest.mark.parametrize("options", [{}, {"latent_channels": 4}, {"diffusion_weight": 0.0}, {"logits": True}], ids=str)
@pytest.mark.parametrize("size", [(8, 8), (1, 1)])
def test_every_parameter_has_a_gradient(size, options):
    distiller = DiffKD(8, 8, **options)
    out = distiller(torch.randn(1, 8, *size), torch.randn(1, 8, *size))
    sum(v for k, v in out.items() if k.startswith("loss_")).backward()
    assert [name for name, p in distiller.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("recompute", [False, True])
def test_a_step_never_waits_for_the_device(recompute):
    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            names.add(function.overloadpacket.__name__)
            return function(*args, **(kwargs or {}))

    names = set()
    distiller = DiffKD(6, 8, latent_channels=4, recompute=recompute)
    maps = torch.randn(2, 6, 4, 5, requires_grad=True), torch.randn(2, 8, 4, 5), torch.ones(2, 1, 4, 5)
    with Watch():
        out = distiller(*maps)
        (out["loss_kd"] + out["loss_diffusion"] + out["loss_ae"]).backward()
    assert "convolution" in names and not names & {"_local_scalar_dense", "nonzero", "is_nonzero", "equal"}


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


def test_kd_by_hand():
    """Two classes at tau 2: teacher (3/4, 1/4), student (1/2, 1/2)."""
    teacher = torch.tensor([[2 * math.log(3), 0.0]])
    student = torch.zeros(1, 2, requires_grad=True)
    loss = KD(tau=2.0)(student, teacher.requires_grad_())["loss_kd"]
    assert loss.item() == pytest.approx(4 * (0.75 * math.log(1.5) + 0.25 * math.log(0.5)))
    loss.backward()
    # tau^2 (q - p) / tau.
    torch.testing.assert_close(student.grad, torch.tensor([[-0.5, 0.5]]))
    assert teacher.grad is None


def test_dist_by_hand():
    """Two samples of three classes, their correlations worked out; probabilities that differ by scale and shift."""
    teacher = torch.tensor([[0.7, 0.2, 0.1], [0.2, 0.3, 0.5]])
    student = torch.tensor([[0.4, 0.35, 0.25], [0.3, 0.5, 0.2]], requires_grad=True)
    inter = []
    for s, t in zip(student.detach().tolist(), teacher.tolist(), strict=True):
        ds, dt = [x - 1 / 3 for x in s], [x - 1 / 3 for x in t]
        dot = sum(a * b for a, b in zip(ds, dt, strict=True))
        inter.append(dot / math.sqrt(sum(a * a for a in ds) * sum(b * b for b in dt)))
    # Over two samples the correlation of a class is a sign: class 0 falls in both, class 1 rises in both, class 2 falls
    # in the student and rises in the teacher.
    intra = [1.0, 1.0, -1.0]
    expected = (1 - sum(inter) / 2) + (1 - sum(intra) / 3)
    loss = DIST()(student.log(), teacher.log())["loss_kd"]
    assert loss.item() == pytest.approx(expected, rel=1e-4)
    weighted = DIST(inter_weight=3.0, intra_weight=0.0)(student.log(), teacher.log())["loss_kd"]
    assert weighted.item() == pytest.approx(3 * (1 - sum(inter) / 2), rel=1e-4)
    assert torch.autograd.grad(loss, student)[0].abs().sum() > 0
    flatter = 0.3 * teacher + 0.7 / 3
    assert DIST()(flatter.log(), teacher.log())["loss_kd"].item() == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("distiller", [KD(), DIST(tau=2.0)])
def test_logits_of_maps_count_by_position(distiller):
    student, teacher = torch.randn(2, 5, 3, 4), torch.randn(2, 5, 3, 4)
    mask = torch.ones(2, 1, 3, 4)
    mask[..., 2:] = 0
    rows = [x[..., :2].permute(0, 2, 3, 1).reshape(-1, 5) for x in (student, teacher)]
    expected = distiller(*rows)["loss_kd"]
    torch.testing.assert_close(distiller(student, teacher, mask)["loss_kd"], expected)
    with pytest.raises(ValueError, match="channels"):
        distiller(student, teacher[:, :4])


# The names in checkpoints, by layer. If one changes, users cannot resume their runs.
CONV = ["weight", "bias"]
NORM = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
COMMON = {
    "align": CONV,
    "noise_matcher.pred": CONV,
    "proj.0": CONV,
    "proj.1": NORM,
    "denoiser.time_embedding": ["weight"],
}
BLOCK = {"block.0": CONV, "block.1": NORM, "block.3": CONV, "block.4": NORM, "block.6": CONV, "block.7": NORM}
MAPS = {
    **COMMON,
    "standardize": ["count", "mean", "var"],
    **{f"noise_matcher.net.{name}": leaves for name, leaves in BLOCK.items()},
    **{f"denoiser.net.0.{name}": leaves for name, leaves in BLOCK.items()},
    **{f"denoiser.net.1.{name}": leaves for name, leaves in BLOCK.items()},
    "denoiser.net.2": CONV,
    "denoiser.net.3": NORM,
}
ENCODER = {"autoencoder.encoder.0": CONV, "autoencoder.encoder.1": NORM, "autoencoder.decoder": CONV}
LOGITS = {
    **COMMON,
    **{"noise_matcher.net.0": CONV, "noise_matcher.net.1": NORM, "noise_matcher.net.3": CONV},
    "noise_matcher.net.4": NORM,
    **{"denoiser.net.0": CONV, "denoiser.net.1": NORM, "denoiser.net.3": CONV, "denoiser.net.4": NORM},
    **{"denoiser.net.5": CONV, "denoiser.net.6": NORM, "denoiser.net.8": CONV},
}


@pytest.mark.parametrize(
    ("distiller", "layers"),
    [
        (DiffKD(6, 8), MAPS),
        (DiffKD(6, 8, latent_channels=4), {**MAPS, **ENCODER}),
        (DiffKD(8, 8, logits=True), LOGITS),
        (Mimic(6, 8), {"align": CONV, "standardize": ["count", "mean", "var"]}),
    ],
    ids=["maps", "autoencoder", "logits", "mimic"],
)
def test_names_in_checkpoints(distiller, layers):
    names = {f"{layer}.{leaf}" for layer, leaves in layers.items() for leaf in leaves}
    assert set(distiller.state_dict()) == names


def test_shapes_in_checkpoints():
    shapes = {name: tuple(value.shape) for name, value in DiffKD(6, 32, latent_channels=16).state_dict().items()}
    expected = {
        "align.weight": (16, 6, 1, 1),
        "autoencoder.encoder.0.weight": (16, 32, 1, 1),
        "autoencoder.decoder.weight": (32, 16, 1, 1),
        "denoiser.time_embedding.weight": (1000, 16),
        "denoiser.net.0.block.0.weight": (4, 16, 1, 1),
        "denoiser.net.0.block.3.weight": (4, 4, 3, 3),
        "denoiser.net.2.weight": (16, 16, 1, 1),
        "noise_matcher.net.block.3.weight": (2, 2, 3, 3),
        "noise_matcher.pred.weight": (2, 16),
        "proj.0.weight": (16, 16, 1, 1),
        "standardize.mean": (32,),
    }
    assert {name: shapes[name] for name in expected} == expected
