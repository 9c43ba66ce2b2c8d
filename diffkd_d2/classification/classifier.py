"""Wrap a classification network of torchvision or timm as a Detectron2 model."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import UserError
from ..meta_arch.capture import find_module
from .networks import build_network, pixel_stats


class Classifier(nn.Module):
    """A network with its own pixel statistics; it returns a dict of losses in training and class scores in evaluation.

    Distillation points can capture two sub-modules without parameters: `feature_map` returns the last feature map
    (N, C, H, W), `logits` the class logits (N, K). Checkpoints have the bare network's keys.

    Args:
        model: "torchvision/<name>", "timm/<name>" or "cifar/<name>" (see `build_network`), or a module that maps
            normalised images (N, 3, H, W) to logits (N, K).
        num_classes: K. If None, the network's own number.
        feature: path inside the network of the module whose output is the last feature map, such as "layer4" or
            "norm" for transformers, whose tokens are arranged on their grid without class tokens. If None, there is no
            `feature_map`.
        pixel_mean: per channel, RGB in [0, 255]. If None, that of the network's published weights.
        pixel_std: the same for the standard deviation.
        label_smoothing: in [0, 1), for labels that are class indices; soft labels are not smoothed.
        loss_weight: factor on `loss_cls`.
        channels_last: use the memory layout in which convolutions are faster under mixed precision; results are equal
            up to rounding.
        options: further arguments of the network's constructor, such as `drop_path_rate=0.2`.

    Raises:
        UserError: if the network does not exist, does not take an option, or has no module `feature`.
    """

    input_format = "RGB"
    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(
        self,
        model: str | nn.Module,
        num_classes: int | None = None,
        feature: str | None = None,
        pixel_mean: Sequence[float] | None = None,
        pixel_std: Sequence[float] | None = None,
        label_smoothing: float = 0.0,
        loss_weight: float = 1.0,
        channels_last: bool = False,
        **options: Any,
    ):
        super().__init__()
        self.network = build_network(model, num_classes, **options) if isinstance(model, str) else model
        self.num_classes, self.label_smoothing, self.loss_weight = num_classes, label_smoothing, loss_weight
        self.logits = nn.Identity()
        self.feature_map = FeatureMap(self.network)
        if feature is not None:
            # A bound method, so that a copy of the classifier (the moving average) calls its own `feature_map`.
            find_module(self.network, feature).register_forward_hook(self._see_feature)
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.network.to(memory_format=self.memory_format)  # type: ignore[call-overload]
        stats = zip((pixel_mean, pixel_std), pixel_stats(self.network), strict=True)
        for name, (given, own) in zip(("pixel_mean", "pixel_std"), stats, strict=True):
            values = torch.tensor(list(own if given is None else given), dtype=torch.float32)
            self.register_buffer(name, values.view(-1, 1, 1), persistent=False)

    @property
    def bare_model(self) -> nn.Module:
        """The network alone, whose keys a checkpoint of this classifier has."""
        return self.network

    def forward(self, batched_inputs: list[dict[str, Any]] | dict[str, Tensor]) -> Any:
        """Return `{"loss_cls": loss}` in training; return scores (logits before softmax) in evaluation.

        Args:
            batched_inputs: a list of `{"image": (3, H, W), "label": class index or (K,) probabilities}`, or the same
                collated, `{"image": (N, 3, H, W), "label": (N,) or (N, K)}`. Images are RGB in [0, 255].

        Returns:
            in evaluation `[{"scores": (K,)}, ...]` for a list, (N, K) for a collated batch.

        Raises:
            UserError: if images of a list differ in size, or labels are missing in training.
        """
        images = self._images(batched_inputs)
        scores = self.network(self.preprocess(images))
        if not isinstance(scores, Tensor):
            raise UserError(f"{type(self.network).__name__} returns a {type(scores).__name__}, not logits")
        scores = self.logits(scores)
        if self.training:
            return {"loss_cls": self.loss_weight * self._loss(scores, self._labels(batched_inputs))}
        return scores if isinstance(batched_inputs, dict) else [{"scores": s} for s in scores]

    def preprocess(self, images: Tensor) -> Tensor:
        """Return images (N, 3, H, W), RGB in [0, 255], normalised, on the network's device."""
        images = images.to(self.pixel_mean.device, non_blocking=True).float()
        return ((images - self.pixel_mean) / self.pixel_std).contiguous(memory_format=self.memory_format)

    def _images(self, inputs: Any) -> Tensor:
        if isinstance(inputs, dict):
            return inputs["image"]
        sizes = {tuple(x["image"].shape[-2:]) for x in inputs}
        if len(sizes) > 1:
            raise UserError(f"the images of a batch must have one size, there are {sorted(sizes)}")
        return torch.stack([x["image"] for x in inputs])

    def _labels(self, inputs: Any) -> Tensor:
        try:
            labels = inputs["label"] if isinstance(inputs, dict) else [x["label"] for x in inputs]
        except KeyError:
            raise UserError("training a classifier needs a 'label' for each image") from None
        if not isinstance(labels, Tensor):
            labels = torch.stack([torch.as_tensor(label) for label in labels])
        return labels.to(self.pixel_mean.device, non_blocking=True)

    def _loss(self, scores: Tensor, labels: Tensor) -> Tensor:
        smoothing = 0.0 if labels.is_floating_point() else self.label_smoothing
        return F.cross_entropy(scores.float(), labels, label_smoothing=smoothing)

    def _see_feature(self, module: nn.Module, args: Any, output: Any) -> None:
        self.feature_map(output)


class FeatureMap(nn.Module):
    """Arrange the output of a network's last stage as a map (N, C, H, W).

    Args:
        network: the network, whose attributes say its layout; it is not registered as a sub-module.
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        # A list, because nn.Module would register the network; deepcopy still copies it.
        self._network = [network]

    def forward(self, output: Tensor) -> Tensor:
        """Return (N, C, H, W) for maps (N, C, H, W), maps (N, H, W, C) of Swin, or tokens (N, L, C) of a ViT.

        Raises:
            UserError: if the tokens do not fill the network's grid.
        """
        network = self._network[0]
        if output.dim() == 4:
            channels_at_the_end = str(getattr(network, "output_fmt", "NCHW")).endswith("NHWC")
            return output.permute(0, 3, 1, 2) if channels_at_the_end else output
        (height, width), prefix = token_layout(network)
        tokens = output[:, prefix:]
        if output.dim() != 3 or tokens.shape[1] != height * width:
            raise UserError(f"{type(network).__name__}: {tuple(output.shape)} are no tokens of a {height}x{width} grid")
        return tokens.transpose(1, 2).reshape(len(tokens), -1, height, width)


def token_layout(network: nn.Module) -> tuple[tuple[int, int], int]:
    """Return the grid (rows, columns) of a vision transformer's tokens, and the number of class tokens before them.

    Raises:
        UserError: if the network states no grid (timm: `patch_embed.grid_size`; torchvision: `patch_size`).
    """
    grid: Any = getattr(getattr(network, "patch_embed", None), "grid_size", None)
    if grid is not None:
        return (grid[0], grid[1]), int(getattr(network, "num_prefix_tokens", 0))
    sides: list[Any] = [getattr(network, name, None) for name in ("image_size", "patch_size")]
    if None in sides:
        raise UserError(f"{type(network).__name__} does not say on which grid its tokens lie")
    side = sides[0] // sides[1]
    return (side, side), int(hasattr(network, "class_token"))
