"""Small detectors and segmentors, trained from scratch: AdamW, a cosine schedule, clipped gradients."""

from ..optim import AdamW as optimizer
from ..schedule import cosine as lr_multiplier
from ..train import distill, train

train.clip_norm = 10.0
