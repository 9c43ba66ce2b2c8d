"""Options of `train_net.py` that are no model, data or optimizer."""

train = dict(
    output_dir="./output",
    # True: checkpoints of another run in that folder are removed; else the run is refused.
    overwrite=False,
    # Initial weights of the student: a path, detectron2:// or https://; "" trains from scratch.
    init_checkpoint="",
    # The part of the student that it belongs to, where it is a bare backbone: "backbone.bottom_up". docs/your_model.md
    init_prefix="",
    # Prefixes of weights that the checkpoint of --eval-only may lack.
    expected_missing=[],
    # After that: prefixes of weights that the student takes from the (first) teacher, such as "backbone.fpn".
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
    # Images per step that optimizer.lr is meant for: it is scaled to the true number. None: it is taken as it stands.
    lr_reference_batch=None,
    # Decay of the student's exponential moving average, which is evaluated beside it; None: no average.
    ema_decay=None,
    # Steps with a loss or gradient that is not finite are skipped; so many in a row end the run. docs/reliability.md
    max_skipped=10,
    # True: where only distillation losses are not finite, the step is taken without them.
    drop_distill=False,
    # gradient_as_bucket_view: gradients live in DDP's buckets, not beside them.
    ddp=dict(broadcast_buffers=False, find_unused_parameters=False, gradient_as_bucket_view=True),
    checkpointer=dict(period=5000, max_to_keep=3),
    eval_period=5000,
    log_period=20,
    device="cuda",
)

# The window in which the KD loss acts; see diffkd_d2/engine/hooks.py. What trains the distillers (diffusion,
# autoencoder) runs from the first iteration, so start_iter gives them a head start.
# teacher_check: evaluate the teacher on about so many test images before training; 0: not at all.
distill = dict(start_iter=0, warmup_iters=0, stop_iter=None, teacher_check=0)
