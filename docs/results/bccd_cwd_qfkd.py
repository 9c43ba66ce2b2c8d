"""`bccd_diffkd_qfkd.py` with CWD in place of DiffKD; see docs/results.md."""

from detectron2.config import LazyCall as L

from diffkd_d2.distillers import ChannelWise

from .bccd_diffkd_qfkd import dataloader, distill, lr_multiplier, model, optimizer, train

for point in model.points[:3]:
    point.distiller = L(ChannelWise)(student_channels=64, teacher_channels=96)
