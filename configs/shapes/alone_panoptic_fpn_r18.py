"""Train the panoptic student of `shapes` alone: PanopticFPN on a slim ResNet-18, 600 iterations."""

from detectron2.config import LazyCall as L

from diffkd_d2.meta_arch.distilled_model import DistilledModel

from ..common.data.shapes_panoptic import dataloader
from ..common.models.slim_faster_rcnn import slim_panoptic_fpn
from ..common.strategies.from_scratch import distill, lr_multiplier, optimizer, train

model = L(DistilledModel)(student=slim_panoptic_fpn(18, width=32, channels=64), points=[], shared_distiller=False)
train.max_iter = train.eval_period = train.checkpointer.period = 600
train.output_dir = "output/shapes/alone_panoptic_fpn_r18"
