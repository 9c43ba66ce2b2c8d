"""A small distilled model, and its training as one of two processes: `one_of_two.py train|balance FOLDER`."""

import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from nets import Net, images
from quick_start import REPO, run_program
from torch.nn.parallel import DistributedDataParallel

from diffkd_d2.distillers import CrossAttention, MaskedGenerative, Mimic, Pearson, Review
from diffkd_d2.engine.balance import BalanceHook
from diffkd_d2.engine.gradient_report import Gradients, task_and_distillation
from diffkd_d2.engine.hooks import DistillHook
from diffkd_d2.engine.trainer import Trainer
from diffkd_d2.meta_arch.distill_point import DistillPoint
from diffkd_d2.meta_arch.distilled_model import DistilledModel


def small_model() -> DistilledModel:
    """Return a model with a method of several levels and three of one."""
    points = [
        DistillPoint("backbone", "backbone", Review(4, 6, 2, inner_channels=8), levels=("p2", "p3")),
        *(
            DistillPoint("backbone", "backbone", m(4, 6), key="p2", name=m.__name__)
            for m in (CrossAttention, MaskedGenerative, Pearson)
        ),
    ]
    return DistilledModel(Net(4), Net(6), points).train()


def run_two(what: str, folder: Path) -> None:
    """Run this file in two processes under torchrun."""
    words = ["tests/helpers/forked_torchrun.py", "2", "tests/helpers/one_of_two.py", what, str(folder)]
    path = os.pathsep.join([str(REPO), os.environ.get("PYTHONPATH", "")])
    run = run_program(words, dict(os.environ, OMP_NUM_THREADS="1", PYTHONPATH=path))
    assert run.returncode == 0, run.stderr[-3000:]


def train(rank: int, folder: str) -> None:
    """Train two steps as process `rank` of two; write the parameters."""
    torch.manual_seed(0)
    model = small_model()
    model.student.norm = torch.nn.Identity()  # its running statistics are each process's own
    ddp = DistributedDataParallel(model, broadcast_buffers=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    torch.manual_seed(rank)
    for _ in range(2):  # the second step fails if a parameter got no gradient
        optimizer.zero_grad()
        sum(ddp(images((16, 24), (24, 16 + 8 * rank))).values()).backward()
        optimizer.step()
    torch.save(dict(model.named_parameters()), f"{folder}/{rank}.pth")


def balance(rank: int, folder: str) -> None:
    """Train three steps with `distill.balance=0.5` as process `rank` of two; write its factors and its first norms."""
    torch.manual_seed(0)
    points = [DistillPoint("backbone", "backbone", Mimic(4, 6), key=key) for key in ("p2", "p3")]
    model = DistilledModel(Net(4), Net(6), points)
    model.student.norm = torch.nn.Identity()
    ddp = DistributedDataParallel(model, broadcast_buffers=False)
    torch.manual_seed(rank)
    batches = [images((16, 24)) for _ in range(3)]
    trainer = Trainer(ddp, batches, torch.optim.SGD(model.parameters(), lr=0.01))
    hook = BalanceHook(model, 0.5)
    trainer.register_hooks([DistillHook(model), hook])
    losses = model(batches[0])
    task, distillation = task_and_distillation(losses, model.loss_to_point)
    gradients = Gradients(model.student, distillation)
    norms = (gradients.norm(task), gradients.distillation)
    factors = []
    write = trainer._write_metrics
    trainer._write_metrics = lambda *args: factors.append(hook.factor) or write(*args)
    trainer.train(0, 3)
    torch.save({"factors": factors, "norms": norms}, f"{folder}/factors{rank}.pth")


if __name__ == "__main__":
    dist.init_process_group("gloo")
    {"train": train, "balance": balance}[sys.argv[1]](dist.get_rank(), sys.argv[2])
    dist.destroy_process_group()
