"""Defaults of `train` and `distill`."""

from omegaconf import DictConfig, OmegaConf


def train_defaults() -> DictConfig:
    """Return the defaults of `train`; docs/options.md has a table."""
    options = dict(
        output_dir="./output",
        # If True, remove the checkpoints of another run in that folder; otherwise such a folder is refused.
        overwrite=False,
        # Initial weights of the student: a path, detectron2:// or https://; "" trains from scratch.
        init_checkpoint="",
        # Part of the student that the checkpoint of a bare backbone belongs to: "backbone.bottom_up".
        init_prefix="",
        # Prefixes of keys that the checkpoint of --eval-only may lack.
        expected_missing=[],
        # Prefixes of weights that the student then copies from the (first) teacher, such as "backbone.fpn"; "neck" is
        # an FPN without its bottom-up network, "head" is everything except the backbone.
        inherit=[],
        max_iter=90000,
        seed=-1,
        # None, "float16" (loss scaling, needs a GPU) or "bfloat16".
        amp=dict(dtype=None),
        # Compile the distillers; see docs/performance.md. This needs a C++ compiler, or Triton on a GPU.
        compile=False,
        # Clip student and distiller gradients separately to this norm; None: no clipping.
        clip_norm=None,
        # Batches whose gradients are averaged into one update of accumulate x total_batch_size images.
        accumulate=1,
        # Batch size that optimizer.lr is meant for; it is scaled to the real one. None: no scaling.
        lr_reference_batch=None,
        # Decay of the student's exponential moving average, which is evaluated beside the student; None: no average.
        ema_decay=None,
        # Batches from which the student's batch-norm statistics are recomputed before each evaluation; 0: off.
        precise_bn=0,
        # Consecutive steps skipped because of NaN or Inf after which the run stops.
        max_skipped=10,
        # If only distillation losses are NaN or Inf, take the step without them.
        drop_distill=False,
        # Arguments of DistributedDataParallel.
        ddp=dict(broadcast_buffers=False, find_unused_parameters=False, gradient_as_bucket_view=True),
        checkpointer=dict(period=5000, max_to_keep=3),
        eval_period=5000,
        log_period=20,
        # Iterations between two pictures in TensorBoard: detections, and DiffKD's denoising steps; 0: off.
        picture_period=0,
        device="cuda",
        # Let cuDNN choose the fastest convolution for each size; useful for images of one size.
        cudnn_benchmark=False,
    )
    return OmegaConf.create(options)


def distill_defaults() -> DictConfig:
    """Return the defaults of `distill`; docs/options.md has a table.

    `start_iter`, `warmup_iters` and `stop_iter` are the window of `loss_kd`. Losses that train the distillers
    (diffusion, autoencoder) act from the first iteration, so `start_iter` gives the distillers a head start. `weight`
    is a factor on `loss_kd` of all points. `where` and `levels` go to `AutoPoints`. `teacher_check` is the number of
    test images on which the teacher is evaluated before training (0: off). `balance` keeps the gradient norm of
    `loss_kd` at this multiple of the task's, in the parameters that distillation reaches (None: off).
    """
    window = dict(start_iter=0, warmup_iters=0, stop_iter=None, weight=1.0)
    return OmegaConf.create(dict(**window, where=None, levels=None, teacher_check=0, balance=None))
