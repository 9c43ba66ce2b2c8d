"""Use timm models (ResNet-18/34, MobileNet, RegNet, Swin, ConvNeXt, ...) as Detectron2 backbones."""

from typing import Any

import timm
from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, Backbone
from omegaconf import ListConfig
from timm.layers import Format, convert_sync_batchnorm, freeze_batch_norm_2d
from torch import Tensor

from ..errors import UserError, nearest

# timm's own conversions, because its batch norms may include an activation, which Detectron2's conversion drops.
NORMS = {"BN": lambda model: model, "FrozenBN": freeze_batch_norm_2d, "SyncBN": convert_sync_batchnorm}


class TimmBackbone(Backbone):
    """A timm model's stages as feature maps, named like those of Detectron2's ResNet: the last one is res5.

    Without dilation, res2 to res5 have strides 4, 8, 16 and 32.

    Args:
        name: name of a timm model, such as "mobilenetv2_100".
        out_features: stages to return. Later stages are not built, except in the EfficientNet family (with MobileNetV2
            and V3): return all stages up to res5 there, or DDP fails on parameters without a gradient.
        pretrained: whether to load timm's weights of that name (from the Hugging Face hub).
        norm: "BN" keeps the batch norms; "SyncBN" and "FrozenBN" convert them. Detectron2's detectors use "FrozenBN"
            for pretrained backbones at two images per GPU.
        options: further arguments of `timm.create_model`, such as `output_stride=16` (dilated, for DeepLab),
            `drop_path_rate=0.1`, or `strict_img_size=False` (Swin on images of any size).

    Raises:
        UserError: if timm has no such model, it returns no feature maps, it lacks a stage, or its weights cannot be
            downloaded.
    """

    def __init__(self, name: str, out_features: list[str], pretrained: bool = False, norm: str = "BN", **options: Any):
        super().__init__()
        # A LazyConfig passes omegaconf lists, which timm and torch do not accept.
        options = {k: tuple(v) if isinstance(v, ListConfig) else v for k, v in options.items()}
        if not timm.is_model(name.split(".")[0]):
            raise UserError(f"timm has no model '{name}'{nearest(name, timm.list_models())}")
        try:
            probe: Any = timm.create_model(name, features_only=True, **options).feature_info
        except (RuntimeError, AttributeError, TypeError) as error:
            raise UserError(f"timm's {name} gives no feature maps with {options}: {error}") from error
        stages = {f"res{6 - len(probe.info) + i}": i for i in range(len(probe.info))}
        missing = [stage for stage in out_features if stage not in stages]
        if missing:
            raise UserError(f"timm's {name} has no stage {missing}; it has {list(stages)}")
        indices = sorted(stages[stage] for stage in out_features)
        try:
            self.model = timm.create_model(
                name, features_only=True, out_indices=indices, pretrained=pretrained, **options
            )
        except (OSError, RuntimeError, ValueError) as error:
            raise UserError(f"cannot load timm's weights of {name}: {str(error).splitlines()[0]}") from error
        if norm not in NORMS:
            raise UserError(f"norm is '{norm}', expected one of {', '.join(NORMS)}")
        self.model = NORMS[norm](self.model)
        self._channels_last = getattr(self.model, "output_fmt", None) == Format.NHWC  # Swin
        self._out_features = sorted(out_features, key=stages.__getitem__)
        info = [probe.info[i] for i in indices]
        self._shapes = {
            stage: ShapeSpec(channels=x["num_chs"], stride=x["reduction"])
            for stage, x in zip(self._out_features, info, strict=True)
        }

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Return the stages (N, C, H / stride, W / stride) of images x (N, 3, H, W)."""
        features = self.model(x)
        if self._channels_last:
            features = [f.permute(0, 3, 1, 2).contiguous() for f in features]
        return dict(zip(self._out_features, features, strict=True))

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Return channels and stride of each stage."""
        return self._shapes


def timm_pixel_stats(name: str) -> tuple[list[float], list[float]]:
    """Return the mean and standard deviation, RGB in [0, 255], of a timm model's training.

    Pass them to a detector as `pixel_mean` and `pixel_std`, with `input_format="RGB"`.

    Raises:
        UserError: if timm has no such model.
    """
    config = timm.get_pretrained_cfg(name)
    if config is None:
        raise UserError(f"timm has no model '{name}'{nearest(name, timm.list_models())}")
    return [255 * x for x in config.mean], [255 * x for x in config.std]


def add_timm_config(cfg: CfgNode) -> None:
    """Add `MODEL.DIFFKD_TIMM`, the options of "build_diffkd_timm_backbone"; for `yaml_model(extend=...)`.

    The key is not `MODEL.TIMM`, because other Detectron2 projects use that name.
    """
    cfg.MODEL.DIFFKD_TIMM = CfgNode(dict(NAME="resnet18", PRETRAINED=True, OUTPUT_STRIDE=32, NORM="BN"))


@BACKBONE_REGISTRY.register()
def build_diffkd_timm_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> TimmBackbone:
    """Build the backbone of `MODEL.DIFFKD_TIMM.NAME` with the stages of `MODEL.RESNETS.OUT_FEATURES`."""
    options = cfg.MODEL.DIFFKD_TIMM
    dilated = {} if options.OUTPUT_STRIDE == 32 else {"output_stride": options.OUTPUT_STRIDE}
    return TimmBackbone(options.NAME, cfg.MODEL.RESNETS.OUT_FEATURES, options.PRETRAINED, options.NORM, **dilated)
