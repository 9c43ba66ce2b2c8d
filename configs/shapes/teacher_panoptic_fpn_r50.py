"""Train a panoptic teacher of `shapes`: PanopticFPN on a slim ResNet-50, 1,500 iterations."""

from detectron2.config import LazyCall as L

from diffkd_d2.meta_arch.distilled_model import DistilledModel

from ..common.data.shapes_panoptic import dataloader
from ..common.models.slim_faster_rcnn import slim_panoptic_fpn
from ..common.strategies.from_scratch import distill, lr_multiplier, optimizer, train

model = L(DistilledModel)(student=slim_panoptic_fpn(50, width=24, channels=96), points=[], shared_distiller=False)
dataloader.train.total_batch_size = 16
optimizer.lr = 1.5e-3
train.max_iter, train.eval_period, train.checkpointer.period = 1500, 1500, 1000
train.output_dir = "output/shapes/teacher_panoptic_fpn_r50"
