"""Run under torchrun: `several.py CONFIG OUT` writes the gradients of a batch of four images over all processes."""

import json
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from detectron2.config import instantiate
from detectron2.engine.defaults import create_ddp_model
from detectron2.utils import comm
from detectron2.utils.events import EventStorage
from torch import nn

from diffkd_d2.distillers import diffkd
from diffkd_d2.engine.config import load_config
from diffkd_d2.engine.launch import join_torchrun, leave_group
from diffkd_d2.engine.loaders import build_loader
from diffkd_d2.modeling.norm import norm_layer


def same_noise() -> None:
    """Let every image have the same noise and time step, whichever process it is in."""
    diffkd.normal_like = lambda x: torch.linspace(-2, 2, x[0].numel(), dtype=x.dtype).view(x[:1].shape).expand(x.shape)
    torch.randint = lambda high, size, **_: torch.full(size, high // 3)


def without_batch_norm(model: nn.Module) -> None:
    """Put GroupNorm in place of every batch norm that is trained."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, norm_layer("GN")(child.num_features))


def main() -> None:
    """Take the first batch of the stream; write losses, gradients' parts and what DDP holds."""
    join_torchrun()
    cfg = load_config(sys.argv[1], ["dataloader.train.total_batch_size=4", "dataloader.train.num_workers=0"])
    torch.manual_seed(0)
    same_noise()
    cfg.model.teacher = cfg.model.teacher.model  # untrained: its numbers do not matter here
    # In float64: rounding depends on the size of a batch, and in float32 that can flip a ReLU.
    model = instantiate(cfg.model)
    without_batch_norm(model)
    model.double()
    for parameter in model.parameters():
        dist.broadcast(parameter.data, 0)
    ddp = create_ddp_model(model, broadcast_buffers=False, find_unused_parameters=False, device_ids=None)
    # All processes read the images of one stream: process r of n takes every n-th.
    images = next(iter(build_loader(cfg.dataloader.train)))
    with EventStorage():
        losses = ddp.train()(images)
        sum(losses.values()).backward()
    if comm.is_main_process():
        gradients = {name: p.grad for name, p in model.named_parameters()}
        missing = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
        held = None
        if ddp is not model:
            held = int(ddp._get_ddp_logging_data()["total_parameter_size_bytes"])
        size = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
        torch.save(gradients, sys.argv[2] + ".pth")
        Path(sys.argv[2]).write_text(json.dumps(dict(missing=missing, in_buckets=held, trained=size)))
    del ddp
    leave_group()
    threads = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
    assert "pt_gloo_runloop" not in threads, threads


if __name__ == "__main__":
    main()
