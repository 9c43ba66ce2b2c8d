"""Options of `train_net.py` that are no model, data or optimizer; `diffkd_d2/engine/defaults.py` explains each."""

from diffkd_d2.engine.defaults import distill_defaults, train_defaults

train = train_defaults()
distill = distill_defaults()
