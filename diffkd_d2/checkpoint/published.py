"""Published weights as checkpoint paths: `torchvision://resnet34/IMAGENET1K_V1`, `timm://resnet50.a1_in1k`.

They can be used like any checkpoint path: as the teacher's `weights` or as `train.init_checkpoint`. The publishing
library downloads them once; the weights are then read from a file in Detectron2's cache, as safely as any other file.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torchvision
from detectron2.utils.file_io import PathManager
from fvcore.common.file_io import PathHandler, get_cache_dir
from torch import nn

from ..errors import UserError


def _from_torchvision(name: str) -> nn.Module:
    network, _, weights = name.partition("/")
    return torchvision.models.get_model(network, weights=weights or "DEFAULT")


def _from_timm(name: str) -> nn.Module:
    import timm  # not required

    return timm.create_model(name, pretrained=True)


class PublishedWeights(PathHandler):
    """Resolve `<prefix><name>` to a file with a published network's state dict.

    Args:
        prefix: the scheme, such as "timm://".
        build: name -> the network with its published weights.
    """

    def __init__(self, prefix: str, build: Callable[[str], nn.Module]):
        super().__init__()
        self.prefix, self.build = prefix, build

    def _get_supported_prefixes(self) -> list[str]:
        return [self.prefix]

    def _get_local_path(self, path: str, *args: Any, **kwargs: Any) -> str:
        name = path.removeprefix(self.prefix)
        file = Path(get_cache_dir()) / self.prefix.partition(":")[0] / f"{name.replace('/', '.')}.pth"
        if not file.is_file():
            try:
                state = self.build(name).state_dict()
            except Exception as error:  # each library and its downloader raise their own errors
                line = (str(error).strip() or type(error).__name__).splitlines()[0]
                raise UserError(f"cannot get the weights {path}: {line}") from error
            file.parent.mkdir(parents=True, exist_ok=True)
            # Several processes may do this at once: each writes its own file, and the last one wins.
            partial = file.with_name(f"{file.name}.{torch.randint(2**31, ()).item()}")
            torch.save({"model": state}, partial)
            partial.replace(file)
        return str(file)


for _prefix, _build in (("torchvision://", _from_torchvision), ("timm://", _from_timm)):
    PathManager.register_handler(PublishedWeights(_prefix, _build), allow_override=True)
