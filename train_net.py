#!/usr/bin/env python
"""Train or evaluate a model that a LazyConfig describes: a student with a teacher, or either alone.

python train_net.py --config-file configs/coco/diffkd_r50.py --num-gpus 8
torchrun --nproc-per-node 2 train_net.py --config-file configs/shapes/diffkd_r18.py
python train_net.py --config-file configs/shapes/diffkd_r18.py --eval-teacher
"""

import os
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

import torch
import torch.distributed as dist
from omegaconf import DictConfig, OmegaConf
from torch import nn
from torch.multiprocessing import ProcessExitedException

from diffkd_d2.errors import UserError, one_line_errors

try:
    from diffkd_d2 import _detectron2  # noqa: F401
except ImportError as error:
    sys.exit(f"error: {error}")

from detectron2.config import instantiate
from detectron2.engine import default_argument_parser, default_setup, default_writers, hooks, launch
from detectron2.engine.defaults import create_ddp_model
from detectron2.utils import comm
from detectron2.utils.logger import setup_logger

from diffkd_d2.checkpoint.checkpointer import Checkpointer
from diffkd_d2.engine.class_lists import check_class_lists, check_logit_classes
from diffkd_d2.engine.compilation import compile_distillers
from diffkd_d2.engine.config import load_config
from diffkd_d2.engine.evaluation import build_test_sets, evaluate, loaders_by_name, try_outputs, write_results
from diffkd_d2.engine.gradient_report import LossScaleHook
from diffkd_d2.engine.guard import TooManySkippedError
from diffkd_d2.engine.hooks import AverageHook, DistillHook, PeriodicCheckpointer
from diffkd_d2.engine.launch import check_gpus, join_machines, join_torchrun, leave_group
from diffkd_d2.engine.optimizer import scale_learning_rate
from diffkd_d2.engine.preemption import EXIT_CODE, PreemptionHook, pass_on_sigterm
from diffkd_d2.engine.preflight import (
    build_loader,
    check_image_format,
    try_points,
    warn_of_random_weights,
)
from diffkd_d2.engine.report import log_parameters, log_recipe
from diffkd_d2.engine.resume import MetricsHook, NormalizerHook, PositionHook, cut_metrics
from diffkd_d2.engine.trainer import Trainer
from diffkd_d2.modeling.teacher import inherit


def argument_parser() -> ArgumentParser:
    """Detectron2's options and `--eval-teacher`."""
    parser = default_argument_parser(epilog=__doc__)
    parser.add_argument("--eval-teacher", action="store_true", help="evaluate the teacher on the student's test data")
    return parser


def training_hooks(cfg, model: nn.Module, loader, seed: int, lr_multiplier, checkpointer, more: list, evaluate) -> list:
    """Return what runs around each step, in order; `more` stands before the checkpointer."""
    main = comm.is_main_process()
    writers = default_writers(cfg.train.output_dir, cfg.train.max_iter) if main else []
    # What stands behind the checkpoint is made up for on resume.
    behind = [hooks.EvalHook(cfg.train.eval_period, evaluate)]
    behind += [hooks.PeriodicWriter(writers, period=cfg.train.log_period)] if main else []
    return [
        PositionHook(loader, seed, cfg.train.accumulate),
        hooks.IterationTimer(),
        hooks.LRScheduler(scheduler=lr_multiplier),
        DistillHook(model, **cfg.distill, period=cfg.train.log_period),
        LossScaleHook(model, cfg.distill.start_iter),
        NormalizerHook(model.student),
        *more,
        PeriodicCheckpointer(checkpointer, **cfg.train.checkpointer) if main else None,
        PreemptionHook(checkpointer, cfg.train.device),
        *behind,
        MetricsHook(cfg.train.output_dir, writers, behind),
    ]


def load_weights(args: Namespace, cfg, model: nn.Module, checkpointer: Checkpointer, trainer: Trainer) -> int:
    """Load what a run starts from, its last checkpoint or initial weights; return the first iteration."""
    if args.resume and checkpointer.resume():
        return trainer.iter + 1
    if args.resume and comm.is_main_process():  # what a run wrote that died before its first checkpoint
        cut_metrics(Path(cfg.train.output_dir) / "metrics.json", -1)
    checkpointer.load(cfg.train.init_checkpoint, checkpointables=[])
    if cfg.train.inherit:
        if not model.teachers:
            raise UserError(f"train.inherit is {list(cfg.train.inherit)}, but there is no teacher to inherit from")
        inherit(model.student, model.teachers[0], cfg.train.inherit)
    warn_of_random_weights(cfg.train.init_checkpoint, model.student)
    return 0


def do_train(args: Namespace, cfg) -> None:
    """Train the student and evaluate it at the end."""
    seed = cfg.train.seed if cfg.train.seed >= 0 else comm.shared_random_seed()
    model = instantiate(cfg.model).to(cfg.train.device)
    cfg.optimizer.params.model = model
    learning_rate = scale_learning_rate(cfg)
    optimizer = instantiate(cfg.optimizer)
    log_parameters(model, optimizer)
    check_image_format(cfg.dataloader.train, model.student)
    loader = build_loader(cfg.dataloader.train)
    lr_multiplier = instantiate(cfg.lr_multiplier)
    log_recipe(cfg, learning_rate, loader, model, lr_multiplier)
    # Before the training, so that what is missing for the evaluation ends the run here.
    test_sets = build_test_sets(cfg, model.student)
    classes = check_class_lists({"the training data": loader, **loaders_by_name(test_sets)}, model.student)
    check_logit_classes(model, classes)
    try_outputs(model.student, test_sets)
    batches = try_points(model, loader)
    if cfg.train.compile:
        compile_distillers(model.points)

    ddp = dict(cfg.train.ddp, **({"device_ids": None} if cfg.train.device == "cpu" else {}))
    trainer = Trainer(
        create_ddp_model(model, **ddp),
        batches,
        optimizer,
        amp=cfg.train.amp.dtype,
        clip_norm=cfg.train.clip_norm,
        clip_modules=[model.student, model.points],
        accumulate=cfg.train.accumulate,
        max_skipped=cfg.train.max_skipped,
        drop_distill=cfg.train.drop_distill,
    )
    ema = []
    if cfg.train.ema_decay is not None:
        ema = [AverageHook(model.student, cfg.train.ema_decay, Path(cfg.train.output_dir) / "model_ema.pth")]
    more = {"classes": classes, **({"ema": ema[0].average} if ema else {})}
    checkpointer = Checkpointer(model.student, cfg.train.output_dir, distillers=model.points, trainer=trainer, **more)
    results: dict = {}

    def evaluate_student() -> dict:
        results.update(evaluate(model.student, test_sets))
        for hook in ema:
            of_average = evaluate(hook.average.module, test_sets)
            results.update({f"{task}_ema": values for task, values in of_average.items()})
        return results

    trainer.register_hooks(training_hooks(cfg, model, loader, seed, lr_multiplier, checkpointer, ema, evaluate_student))
    start_iter = load_weights(args, cfg, model, checkpointer, trainer)
    try:
        trainer.train(start_iter, cfg.train.max_iter)
    except TooManySkippedError:
        checkpointer.save(f"model_{trainer.iter:07d}", iteration=trainer.iter)
        raise
    write_results(cfg.train.output_dir, results)


def do_eval(args: Namespace, cfg) -> None:
    """Evaluate the teacher, or the student from `train.init_checkpoint` or the output folder's last checkpoint."""
    if args.eval_teacher:
        teachers = cfg.model.get("teacher") or []
        if not teachers:
            raise UserError(f"{args.config_file} has no teacher to evaluate")
        read = OmegaConf.select(cfg.dataloader.test, "mapper.image_format")
        for i, node in enumerate([teachers] if isinstance(teachers, DictConfig) else teachers):
            teacher = instantiate(node).to(cfg.train.device)
            if read:
                cfg.dataloader.test.mapper.image_format = getattr(teacher, "input_format", None) or read
            test_sets = build_test_sets(cfg, teacher)
            check_class_lists(loaders_by_name(test_sets), teacher).load_state_dict(
                getattr(teacher, "class_names", None)
            )
            write_results(cfg.train.output_dir, evaluate(teacher, test_sets), f"results_teacher{i or ''}.json")
        return
    student = instantiate(cfg.model.student).to(cfg.train.device)
    test_sets = build_test_sets(cfg, student)
    classes = check_class_lists(loaders_by_name(test_sets), student)
    checkpointer = Checkpointer(student, cfg.train.output_dir, classes=classes)
    path = cfg.train.init_checkpoint
    if not path and checkpointer.has_checkpoint():
        path = checkpointer.get_checkpoint_file()
    if not path:
        raise UserError(f"nothing to evaluate: no train.init_checkpoint, no checkpoint in {cfg.train.output_dir}")
    checkpointer.load(path, checkpointables=["classes"])
    write_results(cfg.train.output_dir, evaluate(student, test_sets))


def work(args: Namespace) -> None:
    """Train or evaluate."""
    with one_line_errors():
        cfg = load_config(args.config_file, args.opts)
        if not (args.num_gpus and torch.cuda.is_available()):
            cfg.train.device = "cpu"
        default_setup(cfg, args)
        setup_logger(cfg.train.output_dir, distributed_rank=comm.get_rank(), name="diffkd_d2")
        do_eval(args, cfg) if args.eval_only or args.eval_teacher else do_train(args, cfg)


def run(args: Namespace) -> None:
    """What each process does; where all of them end alike, at the end or on SIGTERM, they leave their group."""
    code = 0
    try:
        work(args)
    except SystemExit as end:
        if end.code != EXIT_CODE:
            raise
        code = EXIT_CODE
    if dist.is_initialized():
        leave_group()
    if code:
        sys.exit(code)


def main() -> None:
    """Parse the command line and start the processes."""
    # Options may stand after overrides, which argparse would take for overrides too.
    arguments = sorted(sys.argv[1:], key=lambda a: "=" in a and not a.startswith("-"))
    args = argument_parser().parse_args(arguments)
    if "LOCAL_WORLD_SIZE" in os.environ:
        args.resume |= int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0)) > 0
        join_torchrun()
        args.num_gpus = min(torch.cuda.device_count(), int(os.environ["LOCAL_WORLD_SIZE"]))
        run(args)
        return
    with one_line_errors():
        check_gpus(args.num_gpus)
        if args.num_machines > 1 and not torch.cuda.is_available():
            join_machines(args.num_machines, args.machine_rank, args.dist_url)
            run(args)
            return
    if args.num_gpus * args.num_machines > 1:
        pass_on_sigterm()
    try:
        launch(run, args.num_gpus, args.num_machines, args.machine_rank, args.dist_url, args=(args,))
    except ProcessExitedException as error:
        if error.exit_code not in (2, EXIT_CODE):
            raise
        sys.exit(error.exit_code)  # that process has printed its line


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("interrupted; go on with --resume from the last checkpoint")
