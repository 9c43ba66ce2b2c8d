"""A segmentor whose pixel decoder is called by another method than forward, and which remembers its device."""

import torch
import torch.nn.functional as F
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, META_ARCH_REGISTRY, Backbone, build_backbone
from torch import nn


@BACKBONE_REGISTRY.register()
class StandInBackbone(Backbone):
    """Two strided convolutions."""

    def __init__(self, cfg, input_shape):
        super().__init__()
        width = cfg.MODEL.STANDIN.WIDTH
        self.first = nn.Conv2d(input_shape.channels, width, 3, stride=4, padding=1)
        self.second = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(2 * width)
        self.shapes = {"s4": ShapeSpec(channels=width, stride=4), "s8": ShapeSpec(channels=2 * width, stride=8)}

    def forward(self, x):
        first = self.first(x).relu()
        return {"s4": first, "s8": self.norm(self.second(first)).relu()}

    def output_shape(self):
        return self.shapes


class PixelDecoder(nn.Module):
    """Maps the coarser features to class logits."""

    def __init__(self, in_channels, num_classes):
        super().__init__()
        self.predictor = nn.Conv2d(in_channels, num_classes, 1)

    def forward_features(self, features):
        return self.predictor(features["s8"])


@META_ARCH_REGISTRY.register()
class StandIn(nn.Module):
    """Detectron2's contract, with a `device` that is remembered from the config."""

    def __init__(self, cfg):
        super().__init__()
        self.device = torch.device(cfg.MODEL.DEVICE)
        self.backbone = build_backbone(cfg)
        self.pixel_decoder = PixelDecoder(self.backbone.output_shape()["s8"].channels, cfg.MODEL.STANDIN.NUM_CLASSES)
        self.to(self.device)

    def forward(self, batched_inputs):
        images = torch.stack([x["image"].to(self.device) for x in batched_inputs]).float() / 128 - 1
        logits = self.pixel_decoder.forward_features(self.backbone(images))
        if self.training:
            labels = torch.stack([x["sem_seg"].to(self.device) for x in batched_inputs])
            logits = F.interpolate(logits, size=labels.shape[-2:], mode="bilinear")
            return {"loss_sem_seg": F.cross_entropy(logits, labels, ignore_index=255)}
        sizes = [(x["height"], x["width"]) for x in batched_inputs]
        maps = [F.interpolate(x[None], size=size, mode="bilinear")[0] for x, size in zip(logits, sizes, strict=True)]
        return [{"sem_seg": x} for x in maps]
