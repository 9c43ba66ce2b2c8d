"""Small classifiers: AdamW and a cosine schedule."""

from ..optim import AdamW as optimizer
from ..schedule import cosine as lr_multiplier
from ..train import distill, train

optimizer.lr, optimizer.weight_decay = 2e-3, 5e-2
