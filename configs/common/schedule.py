"""Learning-rate schedules, as fractions of `train.max_iter`."""

from detectron2.config import LazyCall as L
from detectron2.solver import WarmupParamScheduler
from fvcore.common.param_scheduler import CosineParamScheduler, PolynomialDecayParamScheduler

cosine = L(WarmupParamScheduler)(
    scheduler=L(CosineParamScheduler)(start_value=1.0, end_value=0.0),
    warmup_length=0.05,
    warmup_factor=0.01,
    warmup_method="linear",
)

# DeepLab's: power 0.9, warm-up of 1,000 of 90,000 iterations.
poly = L(WarmupParamScheduler)(
    scheduler=L(PolynomialDecayParamScheduler)(base_value=1.0, power=0.9),
    warmup_length=1 / 90,
    warmup_factor=0.001,
    warmup_method="linear",
)
