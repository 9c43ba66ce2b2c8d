"""Processes: join them, check that there are enough GPUs, leave them."""

import gc
import os

import torch
import torch.distributed as dist
from detectron2.utils import comm
from torch.distributed.rendezvous import rendezvous

from ..errors import UserError


def check_gpus(wanted: int) -> None:
    """Check `--num-gpus` before any process is started; 1 on a machine without a GPU means its CPU.

    Raises:
        UserError: if more GPUs are asked for than there are.
    """
    available = torch.cuda.device_count()
    if wanted > max(available, 1):
        raise UserError(f"--num-gpus {wanted}, but this machine has {available}")


def join_torchrun() -> None:
    """Join the process group that torchrun describes in the environment: nccl on GPUs, gloo without."""
    local_rank, local_world = int(os.environ["LOCAL_RANK"]), int(os.environ["LOCAL_WORLD_SIZE"])
    use_cuda = torch.cuda.device_count() >= local_world
    if use_cuda:
        torch.cuda.set_device(local_rank)
    # After a restart, torchrun's store still holds the addresses of the processes that have died.
    store, rank, world = next(rendezvous("env://"))
    store = dist.PrefixStore(f"attempt_{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", store)
    dist.init_process_group("nccl" if use_cuda else "gloo", store=store, rank=rank, world_size=world)
    # Detectron2 wants a group per machine, and v0.6 sets it only inside its own launch().
    for first in range(0, world, local_world):
        ranks = list(range(first, first + local_world))
        group = dist.new_group(ranks)
        if rank in ranks:
            comm._LOCAL_PROCESS_GROUP = group


def join_machines(num_machines: int, machine_rank: int, dist_url: str) -> None:
    """Join one process on each of several machines without GPUs, as `--num-machines` describes them.

    Raises:
        UserError: if `dist_url` is no tcp://ADDRESS:PORT.
    """
    address, _, port = dist_url.removeprefix("tcp://").rpartition(":")
    if not dist_url.startswith("tcp://") or not address or not port.isdigit():
        raise UserError(f"--dist-url is '{dist_url}', expected tcp://ADDRESS:PORT of the first machine")
    os.environ.update(MASTER_ADDR=address, MASTER_PORT=port, RANK=str(machine_rank), WORLD_SIZE=str(num_machines))
    os.environ.update(LOCAL_RANK="0", LOCAL_WORLD_SIZE="1")
    join_torchrun()


def leave_group() -> None:
    """End the process group, with its threads; the other processes need not be at their end.

    gloo's thread lets go of a collective's tensors after the collective has returned. Where Python is already ending by
    then, the whole process aborts (exit code -6), and torchrun or SLURM takes a finished run for a failed one. A thread
    ends with the last reference to its group, and Detectron2 holds two.
    """
    comm._LOCAL_PROCESS_GROUP = None
    comm._get_global_gloo_group.cache_clear()
    dist.destroy_process_group()
    gc.collect()  # DistributedDataParallel refers to its group, and a trainer to itself
