"""ResNets of any width, for small images and machines without a GPU."""

from detectron2.config import LazyCall as L
from detectron2.modeling.backbone import FPN, BasicStem, ResNet
from detectron2.modeling.backbone.resnet import BasicBlock, BottleneckBlock

BLOCKS = {18: [2, 2, 2, 2], 50: [3, 4, 6, 3]}


def slim_resnet_fpn(depth, width, fpn_channels, in_features, norm="BN"):
    """Return the config of a ResNet-18 or -50 under an FPN, its first stage `width` wide (64 in the paper)."""
    expansion = 4 if depth == 50 else 1
    stages, in_channels = [], width
    for i, blocks in enumerate(BLOCKS[depth]):
        inner = width * 2**i
        stage = L(ResNet.make_stage)(
            block_class=BottleneckBlock if depth == 50 else BasicBlock,
            num_blocks=blocks,
            stride_per_block=[1 if i == 0 else 2] + [1] * (blocks - 1),
            in_channels=in_channels,
            out_channels=inner * expansion,
            norm=norm,
        )
        if depth == 50:
            stage.bottleneck_channels = inner
        stages.append(stage)
        in_channels = inner * expansion
    return L(FPN)(
        bottom_up=L(ResNet)(
            stem=L(BasicStem)(in_channels=3, out_channels=width, norm=norm),
            stages=stages,
            out_features=in_features,
        ),
        in_features=in_features,
        out_channels=fpn_channels,
    )
