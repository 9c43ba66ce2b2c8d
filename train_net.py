#!/usr/bin/env python
"""Train a student with or without a teacher, or evaluate either, as a config says.

python train_net.py --config-file configs/coco/diffkd_r50.py --num-gpus 8
torchrun --nproc-per-node 2 train_net.py --config-file configs/shapes/diffkd_retinanet_r18.py
python train_net.py --config-file configs/shapes/diffkd_retinanet_r18.py --eval-teacher
python train_net.py --config-file my/student.yaml --teacher my/teacher.yaml --teacher-weights teacher.pth --method pkd
python train_net.py --config-file configs/shapes/diffkd_retinanet_r18.py --dry-run
"""

import sys
from argparse import Namespace
from functools import partial
from pathlib import Path

try:
    from diffkd_d2 import _detectron2  # noqa: F401
except ImportError as error:
    sys.exit(f"error: {error}")

from detectron2.engine import hooks
from detectron2.engine.defaults import create_ddp_model
from detectron2.utils import comm
from omegaconf import DictConfig

from diffkd_d2.checkpoint.checkpointer import Checkpointer
from diffkd_d2.checkpoint.run_folder import Run
from diffkd_d2.engine.balance import BalanceHook
from diffkd_d2.engine.build import build
from diffkd_d2.engine.compilation import compile_distillers
from diffkd_d2.engine.config import argument_parser, parse_arguments
from diffkd_d2.engine.eval_only import evaluate_checkpoint, evaluate_teachers
from diffkd_d2.engine.evaluation import EvalHook, evaluate_with_average, write_results
from diffkd_d2.engine.evaluators import build_test_sets
from diffkd_d2.engine.gradient_report import GradientReportHook
from diffkd_d2.engine.guard import TooManySkippedError
from diffkd_d2.engine.hooks import AverageHook, DistillHook, LRScheduler, PeriodicCheckpointer, PreciseBN
from diffkd_d2.engine.launch import launch, set_up
from diffkd_d2.engine.loaders import build_loader
from diffkd_d2.engine.optimizer import build_optimizer, scale_learning_rate
from diffkd_d2.engine.pair import configure
from diffkd_d2.engine.pictures import PictureHook
from diffkd_d2.engine.plan import log_plan
from diffkd_d2.engine.preemption import PreemptionHook
from diffkd_d2.engine.preflight import preflight
from diffkd_d2.engine.report import build_writers, log_parameters, log_recipe
from diffkd_d2.engine.resume import MetricsHook, NormalizerHook, PositionHook
from diffkd_d2.engine.teacher_check import report_teacher_reached
from diffkd_d2.engine.trainer import Trainer
from diffkd_d2.engine.weights import load_weights, run_settings, start_folder
from diffkd_d2.modeling.fold import fold_frozen_norms


def do_train(args: Namespace, cfg: DictConfig) -> None:
    """Train the student and evaluate it at the end."""
    train, distill, output_dir = cfg.train, cfg.distill, Path(cfg.train.output_dir)
    window = (distill.start_iter, distill.warmup_iters, distill.stop_iter)
    seed = train.seed if train.seed >= 0 else comm.shared_random_seed()
    model = build(cfg.model, "model").to(train.device)
    learning_rate = scale_learning_rate(cfg)
    optimizer = build_optimizer(cfg, model)
    lr_multiplier = build(cfg.lr_multiplier, "lr_multiplier")

    loader = build_loader(cfg.dataloader.train)
    # Build the test loaders before training, so that a missing dataset fails now.
    test_sets = build_test_sets(cfg, model.student)
    log_parameters(model, optimizer)
    log_recipe(cfg, learning_rate, loader, model, lr_multiplier)
    writes = comm.is_main_process() and not args.dry_run  # a dry run leaves the folder as it is
    checked = preflight(cfg, model, loader, test_sets, writes)
    if train.compile:
        compile_distillers(model.points)

    trainer = Trainer(
        create_ddp_model(model, **train.ddp, **({"device_ids": None} if train.device == "cpu" else {})),
        checked.batches,
        optimizer,
        amp=train.amp.dtype,
        clip_modules=[model.student, model.points],
        **{name: train[name] for name in ("clip_norm", "accumulate", "max_skipped", "drop_distill")},
    )
    decay = train.ema_decay
    averaging = None if decay is None else AverageHook(model.student, decay, output_dir / "model_ema.pth")
    run = Run(output_dir, [point.name for point in model.points], run_settings(cfg, lr_multiplier, model))
    parts = dict(run=run, distillers=model.points, trainer=trainer, classes=checked.classes)
    parts |= {"ema": averaging.average} if averaging else {}
    checkpointer = Checkpointer(model.student, train.output_dir, save_to_disk=writes, **parts)

    def evaluate_student() -> dict:
        return evaluate_with_average(model.student, test_sets, averaging.average.module if averaging else None)

    eval_hook = EvalHook(train.eval_period, evaluate_student, output_dir)
    writers = build_writers(train.output_dir, train.max_iter) if writes else []
    writer_hook = hooks.PeriodicWriter(writers, period=train.log_period)
    trainer.register_hooks(
        [
            PositionHook(loader, seed, train.accumulate),
            hooks.IterationTimer(),
            LRScheduler(model.student, lr_multiplier),
            DistillHook(model, *window, distill.weight, train.log_period),
            GradientReportHook(model, distill.start_iter, distill.weight)
            if distill.get("balance") is None
            else BalanceHook(model, distill.balance, distill.start_iter),
            PreciseBN(train.eval_period, model.student, partial(build_loader, cfg.dataloader.train), train.precise_bn)
            if train.precise_bn
            else None,
            NormalizerHook(model.student),
            averaging,
            PictureHook(model, train.picture_period, checked.classes.names.get("things", [])),
            PeriodicCheckpointer(checkpointer, **train.checkpointer) if comm.is_main_process() else None,
            PreemptionHook(checkpointer, train.device),
            # Hooks after the checkpoint; MetricsHook replays them on resume.
            eval_hook,
            writer_hook,
            MetricsHook(train.output_dir, writers, eval_hook, writer_hook),
        ]
    )
    start_iter = load_weights(cfg, model, checkpointer, trainer, resume=args.resume)
    # Fold the teachers after the student may have inherited from them.
    model.teachers[:] = [fold_frozen_norms(t, model.captured_modules(i)) for i, t in enumerate(model.teachers)]
    if args.dry_run:
        log_plan(cfg, model, loader, test_sets, checked, start_iter)
        return
    if start_iter == 0:
        start_folder(cfg, args.resume)
    try:
        trainer.train(start_iter, train.max_iter)
    except TooManySkippedError:
        checkpointer.save(f"model_{trainer.iter:07d}", iteration=trainer.iter)
        raise
    if test_sets:
        write_results(output_dir / "results.json", eval_hook.results)
    if model.points and comm.is_main_process():
        report_teacher_reached(eval_hook.results, output_dir)


def main(args: Namespace) -> None:
    """Train or evaluate, in each process."""
    cfg = configure(args)
    set_up(cfg, args)
    if args.eval_teacher:
        evaluate_teachers(cfg)
    elif args.eval_only:
        evaluate_checkpoint(cfg, args.resume)
    else:
        do_train(args, cfg)


if __name__ == "__main__":
    launch(main, parse_arguments(argument_parser(__doc__), sys.argv[1:]))
