"""Options `train` and `distill` of a config, with their defaults; see `diffkd_d2/engine/defaults.py`."""

from diffkd_d2.engine.defaults import distill_defaults, train_defaults

train = train_defaults()
distill = distill_defaults()
