"""CIFAR's residual networks: ResNet-6n+2 (1512.03385) and WRN-d-k (1605.07146), for images of 32 px.

Parameter names are those of the public CIFAR distillation repositories, so that their checkpoints load.
"""

from collections.abc import Callable
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn


def _conv3x3(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)


class PostActBlock(nn.Module):
    """Two normalised 3x3 convolutions, with a 1x1 convolution on the shortcut if the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.conv1, self.bn1 = _conv3x3(inputs, outputs, stride), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = _conv3x3(outputs, outputs), nn.BatchNorm2d(outputs)
        self.downsample: nn.Module = nn.Identity()
        if inputs != outputs:
            shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(out + self.downsample(x))


class PreActBlock(nn.Module):
    """Norm and ReLU before each of the two convolutions; the shortcut's convolution shares the first norm and ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(inputs), _conv3x3(inputs, outputs, stride)
        self.bn2, self.conv2 = nn.BatchNorm2d(outputs), _conv3x3(outputs, outputs)
        self.convShortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False) if inputs != outputs else None

    def forward(self, x: Tensor) -> Tensor:
        active = F.relu(self.bn1(x))
        out = self.conv2(F.relu(self.bn2(self.conv1(active))))
        return out + (x if self.convShortcut is None else self.convShortcut(active))


class CifarResNet(nn.Module):
    """ResNet with stages of 16, 32 and 64 channels; the last map is the output of `layer3`, (N, 64, H / 4, W / 4).

    Args:
        depth: 6n + 2.
        num_classes: K.

    Raises:
        ValueError: if the depth does not have this form.
    """

    def __init__(self, depth: int, num_classes: int = 100):
        super().__init__()
        blocks = _blocks_per_stage(depth, 2)
        self.conv1, self.bn1 = _conv3x3(3, 16), nn.BatchNorm2d(16)
        self.layer1 = _stage(PostActBlock, 16, 16, 1, blocks)
        self.layer2 = _stage(PostActBlock, 16, 32, 2, blocks)
        self.layer3 = _stage(PostActBlock, 32, 64, 2, blocks)
        self.fc = nn.Linear(64, num_classes)
        _init(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, K) of images (N, 3, H, W)."""
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(x.mean(dim=(2, 3)))


class WideResNet(nn.Module):
    """WRN-depth-width, pre-activation; the last map is the output of `relu`, (N, 64 width, H / 4, W / 4).

    Args:
        depth: 6n + 4.
        width: factor on the widths 16, 32, 64 of the stages.
        num_classes: K.

    Raises:
        ValueError: if the depth does not have this form.
    """

    def __init__(self, depth: int, width: int, num_classes: int = 100):
        super().__init__()
        blocks = _blocks_per_stage(depth, 4)
        widths = [16, 16 * width, 32 * width, 64 * width]
        self.conv1 = _conv3x3(3, widths[0])
        stages = [_stage(PreActBlock, widths[i], widths[i + 1], 1 if i == 0 else 2, blocks) for i in range(3)]
        self.block1, self.block2, self.block3 = (nn.ModuleDict({"layer": stage}) for stage in stages)
        self.bn1, self.relu = nn.BatchNorm2d(widths[3]), nn.ReLU()
        self.fc = nn.Linear(widths[3], num_classes)
        _init(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, K) of images (N, 3, H, W)."""
        x = self.conv1(x)
        for block in (self.block1, self.block2, self.block3):
            x = block["layer"](x)
        return self.fc(self.relu(self.bn1(x)).mean(dim=(2, 3)))


CIFAR_NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "resnet20": partial(CifarResNet, 20),
    "resnet32": partial(CifarResNet, 32),
    "resnet56": partial(CifarResNet, 56),
    "resnet110": partial(CifarResNet, 110),
    "wrn_16_2": partial(WideResNet, 16, 2),
    "wrn_40_1": partial(WideResNet, 40, 1),
    "wrn_40_2": partial(WideResNet, 40, 2),
}


def _blocks_per_stage(depth: int, rest: int) -> int:
    if depth < 6 + rest or (depth - rest) % 6:
        raise ValueError(f"depth is {depth}, expected 6n + {rest}")
    return (depth - rest) // 6


def _stage(block: type[nn.Module], inputs: int, outputs: int, stride: int, count: int) -> nn.Sequential:
    return nn.Sequential(block(inputs, outputs, stride), *(block(outputs, outputs, 1) for _ in range(count - 1)))


def _init(network: nn.Module) -> None:
    """Initialise convolutions by fan-out (He et al., 1502.01852) and linear biases with 0."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)
