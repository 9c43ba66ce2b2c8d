"""What `train` and `distill` of a config hold where nothing else is said."""

from omegaconf import DictConfig, OmegaConf


def train_defaults() -> DictConfig:
    """Return the options of `train_net.py` that are no model, data or optimizer."""
    options = dict(
        output_dir="./output",
        # True: checkpoints of another run in that folder are removed; else the run is refused.
        overwrite=False,
        # Initial weights of the student: a path, detectron2:// or https://; "" trains from scratch.
        init_checkpoint="",
        # The part of the student that it belongs to, where it is a bare backbone: "backbone.bottom_up".
        init_prefix="",
        # Prefixes of weights that the checkpoint of --eval-only may lack.
        expected_missing=[],
        # After that: prefixes of weights that the student takes from the (first) teacher, such as "backbone.fpn";
        # "neck" is all of an FPN backbone but its bottom-up network, "head" all but the backbone.
        inherit=[],
        max_iter=90000,
        seed=-1,
        # None, "float16" (loss scaling, needs a GPU) or "bfloat16".
        amp=dict(dtype=None),
        # True: the distillers go through torch.compile, see docs/performance.md. Needs a C++ compiler, on a GPU Triton.
        compile=False,
        # Largest norm of the student's and of the distillers' gradient, each for itself; None: no clipping.
        clip_norm=None,
        # Batches whose gradients make one update; a step then sees accumulate x total_batch_size images.
        accumulate=1,
        # Images per step that optimizer.lr is meant for: it is scaled to the true number. None: taken as it stands.
        lr_reference_batch=None,
        # Decay of the student's exponential moving average, which is evaluated beside it; None: no average.
        ema_decay=None,
        # Batches from which the student's batch norms are computed before each evaluation (PreciseBN); 0: off.
        precise_bn=0,
        # Steps with a loss or gradient that is not finite are skipped; so many in a row end the run.
        max_skipped=10,
        # True: where only distillation losses are not finite, the step is taken without them.
        drop_distill=False,
        # gradient_as_bucket_view: gradients live in DDP's buckets, not beside them.
        ddp=dict(broadcast_buffers=False, find_unused_parameters=False, gradient_as_bucket_view=True),
        checkpointer=dict(period=5000, max_to_keep=3),
        eval_period=5000,
        log_period=20,
        # Iterations between two pictures in TensorBoard: detections, and the steps of DiffKD's denoising; 0: none.
        picture_period=0,
        device="cuda",
        # Let cuDNN choose the fastest convolution for each size; for images of one size.
        cudnn_benchmark=False,
    )
    return OmegaConf.create(options)


def distill_defaults() -> DictConfig:
    """Return the window in which the KD loss acts, its weight, and what `AutoPoints` is told.

    What trains the distillers (diffusion, autoencoder) runs from the first iteration, so `start_iter` gives them a
    head start. `weight` multiplies `loss_kd` of all points; `where` and `levels` are AutoPoints' own. `teacher_check`:
    evaluate the teacher on about this many test images before training; 0: not at all. `balance`: a factor on `loss_kd`
    of all points keeps its gradient norm at this multiple of the task's, in the parameters that distillation reaches;
    None: the weights of the points are taken as they stand.
    """
    window = dict(start_iter=0, warmup_iters=0, stop_iter=None, weight=1.0)
    return OmegaConf.create(dict(**window, where=None, levels=None, teacher_check=0, balance=None))
