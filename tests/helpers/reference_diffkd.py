"""DiffKD's formulas written out plainly (arXiv 2305.15712 and DDIM, 2010.02502): eager, one line a formula.

It is what the distiller's numbers are compared with. It shares no code with the package: the weights come as a
`state_dict`, the random numbers as arguments. Maps are (N, C, H, W), a norm is batch norm with the batch's statistics,
and with the running ones where a batch has one value per channel.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

Weights = dict[str, Tensor]


def reference_losses(
    weights: Weights,
    student: Tensor,
    teacher: Tensor,
    start: Tensor,
    noise: Tensor,
    t: Tensor,
    evaluations: int = 5,
    mask: Tensor | None = None,
    tau: float | None = None,
) -> dict[str, Tensor]:
    """Return the losses of DiffKD.

    Args:
        weights: parameters and buffers of a `DiffKD`, under its names.
        student: (N, Cs, H, W).
        teacher: (N, Ct, H, W), already standardised.
        start: the normal noise that the matcher mixes in, (N, C, H, W).
        noise: the normal noise of the diffusion loss, (N, C, H, W).
        t: its steps, (N,).
        evaluations: length of the sampling chain.
        mask: (N, 1, H, W), 1 where a position counts; None: everywhere.
        tau: None: feature maps, MSE. A number: class logits, KL at this temperature.
    """
    losses = {}
    mask = torch.ones_like(teacher[:, :1]) if mask is None else mask
    latent = teacher
    if "autoencoder.decoder.weight" in weights:
        latent = norm(weights, "autoencoder.encoder.1", conv(weights, "autoencoder.encoder.0", teacher))
        losses["loss_ae"] = mse(conv(weights, "autoencoder.decoder", latent), teacher, mask)
    latent = latent.detach()
    aligned = conv(weights, "align", student)
    matched = bottleneck(weights, "noise_matcher.net", aligned) if tau is None else logit_matcher(weights, aligned)
    scores = matched.mean(dim=(2, 3)) @ weights["noise_matcher.pred.weight"].T + weights["noise_matcher.pred.bias"]
    gamma = torch.softmax(scores, dim=1)[:, 0].reshape(-1, 1, 1, 1)
    x = gamma * aligned + (1 - gamma) * start
    alpha_bar = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), dim=0)
    stride = 1000 // (2 * evaluations)
    for step in range((evaluations - 1) * stride, -1, -stride):
        now = alpha_bar[step].item()
        then = alpha_bar[step - stride].item() if step else 1.0
        predicted = denoise(weights, x, torch.full_like(t, step))
        clean = (x - (1 - now) ** 0.5 * predicted) / now**0.5
        x = then**0.5 * clean + (1 - then) ** 0.5 * predicted
    refined = norm(weights, "proj.1", conv(weights, "proj.0", x))
    losses["loss_kd"] = mse(refined, latent, mask) if tau is None else kl(refined, latent, tau, mask)
    at_t = alpha_bar[t].float().to(latent.dtype).reshape(-1, 1, 1, 1)  # the distiller keeps it in float32
    noisy = at_t**0.5 * latent + (1 - at_t) ** 0.5 * noise
    losses["loss_diffusion"] = mse(denoise(weights, noisy, t), noise, mask)
    return losses


def denoise(weights: Weights, x: Tensor, t: Tensor) -> Tensor:
    """Predict the noise in x at steps t (N,)."""
    x = x + weights["denoiser.time_embedding.weight"][t].reshape(*x.shape[:2], 1, 1)
    if "denoiser.net.8.weight" in weights:
        x = torch.relu(norm(weights, "denoiser.net.1", conv(weights, "denoiser.net.0", x)))
        x = norm(weights, "denoiser.net.4", conv(weights, "denoiser.net.3", x))
        x = torch.relu(norm(weights, "denoiser.net.6", conv(weights, "denoiser.net.5", x)))
        return conv(weights, "denoiser.net.8", x)
    x = bottleneck(weights, "denoiser.net.0", x)
    x = bottleneck(weights, "denoiser.net.1", x)
    return norm(weights, "denoiser.net.3", conv(weights, "denoiser.net.2", x))


def bottleneck(weights: Weights, name: str, x: Tensor) -> Tensor:
    """1x1, 3x3, 1x1 convolutions with norm, ReLU between them, and the identity."""
    y = torch.relu(norm(weights, f"{name}.block.1", conv(weights, f"{name}.block.0", x)))
    y = torch.relu(norm(weights, f"{name}.block.4", conv(weights, f"{name}.block.3", y)))
    return x + norm(weights, f"{name}.block.7", conv(weights, f"{name}.block.6", y))


def logit_matcher(weights: Weights, x: Tensor) -> Tensor:
    """The noise matcher's network for class logits."""
    x = torch.relu(norm(weights, "noise_matcher.net.1", conv(weights, "noise_matcher.net.0", x)))
    return norm(weights, "noise_matcher.net.4", conv(weights, "noise_matcher.net.3", x))


def conv(weights: Weights, name: str, x: Tensor) -> Tensor:
    """Convolve, keeping height and width."""
    kernel = weights[f"{name}.weight"]
    return F.conv2d(x, kernel, weights[f"{name}.bias"], padding=kernel.shape[2] // 2)


def norm(weights: Weights, name: str, x: Tensor) -> Tensor:
    """Batch norm in training."""
    weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
    if x.numel() > x.shape[1]:
        return F.batch_norm(x, None, None, weight, bias, training=True)
    return F.batch_norm(x, weights[f"{name}.running_mean"], weights[f"{name}.running_var"], weight, bias)


def mse(pred: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Mean squared error over the positions of the mask."""
    return (mask * (pred - target) ** 2).sum() / (mask.sum() * pred.shape[1])


def kl(student: Tensor, teacher: Tensor, tau: float, mask: Tensor) -> Tensor:
    """Mean over the positions of the mask of tau^2 KL(teacher || student)."""
    p, q = (torch.softmax(x / tau, dim=1) for x in (teacher, student))
    return tau**2 * (mask * p * (p.log() - q.log())).sum() / mask.sum()
