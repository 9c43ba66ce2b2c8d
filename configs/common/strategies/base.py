"""Parts shared by the classification strategies."""

from detectron2.config import LazyCall as L
from detectron2.solver import WarmupParamScheduler
from fvcore.common.param_scheduler import MultiStepParamScheduler

from ..train import distill, train


def set_length(options, batch, epochs, num_images):
    """Set train's length in epochs, for the batch that the learning rate is meant for."""
    options.max_iter, options.lr_reference_batch = epochs * num_images // batch, batch
    options.eval_period = options.checkpointer.period = 5 * num_images // batch
    options.log_period = 50


def steps(epochs, milestones, gamma=0.1):
    """Return a schedule that multiplies by gamma at each milestone; epochs and milestones have the same unit."""
    values = [gamma**i for i in range(len(milestones) + 1)]
    return L(MultiStepParamScheduler)(values=values, milestones=milestones, num_updates=epochs)


def warm_up(scheduler, epochs, warmup_epochs, warmup_factor):
    """Return the scheduler with a linear warm-up over the first epochs."""
    return L(WarmupParamScheduler)(
        scheduler=scheduler, warmup_length=warmup_epochs / epochs, warmup_factor=warmup_factor, warmup_method="linear"
    )


# No weight decay on biases and norms, as in the authors' optimizers.
no_decay = dict(weight_decay_norm=0.0, weight_decay_bias=0.0)
