"""Options of `train_net.py` that are no model, data or optimizer."""

train = dict(
    output_dir="./output",
    # Initial weights of the student: a path, detectron2:// or https://; "" trains from scratch.
    init_checkpoint="",
    # After that: prefixes of weights that the student takes from the (first) teacher, such as "backbone.fpn".
    inherit=[],
    max_iter=90000,
    seed=-1,
    # None, "float16" (loss scaling, needs a GPU) or "bfloat16".
    amp=dict(dtype=None),
    # Largest norm of the student's and of the distillers' gradient, each for itself; None: no clipping.
    clip_norm=None,
    ddp=dict(broadcast_buffers=False, find_unused_parameters=False),
    checkpointer=dict(period=5000, max_to_keep=3),
    eval_period=5000,
    log_period=20,
    device="cuda",
)

# The window in which the KD loss acts; see diffkd_d2/engine/hooks.py. What trains the distillers (diffusion,
# autoencoder) runs from the first iteration, so start_iter gives them a head start.
distill = dict(start_iter=0, warmup_iters=0, stop_iter=None)
