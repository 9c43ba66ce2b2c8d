"""Start the processes of a run, join their group, and end them together."""

import gc
import os
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist
from detectron2.engine import default_setup
from detectron2.engine import launch as detectron2_launch
from detectron2.utils import comm
from detectron2.utils.logger import setup_logger
from omegaconf import DictConfig
from torch.distributed.rendezvous import rendezvous
from torch.multiprocessing import ProcessExitedException

from ..errors import UserError, one_line_errors
from .config import place_models
from .preemption import EXIT_CODE, pass_on_sigterm
from .weights import claim_output_folder


def check_gpus(wanted: int, machines: int = 1) -> None:
    """Check `--num-gpus` before any process is started; without a GPU, 1 means the CPU.

    Raises:
        UserError: if fewer than 0 or more GPUs are asked for than there are, or several machines without GPUs.
    """
    available = torch.cuda.device_count()
    if machines > 1 and not available:
        raise UserError("--num-machines needs GPUs; without them use torchrun --nnodes")
    if not 0 <= wanted <= max(available, 1):
        raise UserError(f"--num-gpus {wanted}, but this machine has {available}")


def set_up(cfg: DictConfig, args: Namespace) -> None:
    """Prepare a process for a run: its device, the output folder, the log, the seed.

    A dry run writes its log and config into a folder of its own, `dry_run`.

    Raises:
        UserError: if nothing can be written into the output folder, or it holds another run.
    """
    if not (args.num_gpus and torch.cuda.is_available()):
        cfg.train.device = "cpu"
    place_models(cfg.model, cfg.train.device)
    make_output_dir(cfg.train.output_dir)
    if not (args.eval_only or args.eval_teacher):
        claim_output_folder(cfg, args.resume, args.dry_run)
    output_dir = cfg.train.output_dir
    if args.dry_run:  # the folder may hold a run, even one at work
        cfg.train.output_dir = os.path.join(output_dir, "dry_run")
    default_setup(cfg, args)
    logger = setup_logger(cfg.train.output_dir, distributed_rank=comm.get_rank(), name="diffkd_d2")
    cfg.train.output_dir = output_dir
    for note in cfg.get("notes", []):
        logger.info(note)


def make_output_dir(path: str) -> None:
    """Create the output folder of a run if it does not exist.

    Raises:
        UserError: if the path cannot be a folder, or the folder is not writable.
    """
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"train.output_dir is '{path}', which cannot be a folder: {error.strerror}") from error
    if not os.access(path, os.W_OK):
        raise UserError(f"train.output_dir is '{path}', into which nothing can be written")


def join_torchrun() -> None:
    """Join the process group that torchrun describes in the environment: nccl on GPUs, otherwise gloo."""
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


def leave_group() -> None:
    """End the process group and its threads; the other processes may still be running.

    gloo's thread frees a collective's tensors after the collective has returned. If Python is already shutting down by
    then, the process aborts (exit code -6), and torchrun or SLURM takes a finished run for a failed one. The thread
    ends when the last reference to its group is gone, and Detectron2 holds two.
    """
    comm._LOCAL_PROCESS_GROUP = None
    comm._get_global_gloo_group.cache_clear()
    dist.destroy_process_group()
    gc.collect()  # DistributedDataParallel refers to its group, and a trainer to itself


def launch(main: Callable[[Namespace], None], args: Namespace) -> None:
    """Run `main(args)` in each process: those that torchrun started, or one per GPU of `--num-gpus`.

    A UserError in any process becomes one line and exit code 2. SIGTERM is passed on to all processes.

    Args:
        main: a function at the top of its module, so that other processes can import it.
        args: of `engine.config.argument_parser`.
    """
    try:
        if "LOCAL_WORLD_SIZE" in os.environ:
            args.resume |= int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0)) > 0
            join_torchrun()
            args.num_gpus = min(torch.cuda.device_count(), int(os.environ["LOCAL_WORLD_SIZE"]))
            _run(main, args)
            return
        with one_line_errors():
            check_gpus(args.num_gpus, args.num_machines)
        if args.num_gpus * args.num_machines > 1:
            pass_on_sigterm()
        processes = (args.num_gpus, args.num_machines, args.machine_rank, args.dist_url)
        detectron2_launch(_run, *processes, args=(main, args))
    except ProcessExitedException as error:
        if error.exit_code not in (2, EXIT_CODE):
            raise
        sys.exit(error.exit_code)  # that process has printed its line
    except KeyboardInterrupt:
        sys.exit("interrupted; go on with --resume from the last checkpoint")


def _run(main: Callable[[Namespace], None], args: Namespace) -> None:
    """Call `main`. When all processes end together, at the end or on SIGTERM, leave their group."""
    code = 0
    try:
        with one_line_errors():
            main(args)
    except SystemExit as end:
        if end.code != EXIT_CODE:
            raise
        code = EXIT_CODE
    if dist.is_initialized():
        leave_group()
    if code:
        sys.exit(code)
