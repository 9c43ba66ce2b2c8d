"""Train a two-stage teacher of `shapes`: Mask R-CNN on a slim ResNet-50, 1,500 iterations."""

from detectron2.config import LazyCall as L

from diffkd_d2.meta_arch.distilled_model import DistilledModel

from ..common.data.shapes_mask import dataloader
from ..common.models.slim_faster_rcnn import slim_faster_rcnn
from ..common.strategies.from_scratch import distill, lr_multiplier, optimizer, train

model = L(DistilledModel)(
    student=slim_faster_rcnn(50, width=24, channels=96, masks=True), points=[], shared_distiller=False
)
train.max_iter = train.eval_period = train.checkpointer.period = 1500
train.output_dir = "output/shapes/teacher_mask_rcnn_r50"
