"""KD (tau 4, task loss weighing 0.9): ResNet-18 from torchvision's ResNet-34, strategy B1.

Reported top-1 by others in their own settings: 71.03 (mdistiller), 71.37 (torchdistill), 71.81 (mmrazor); teacher
73.31, student alone 69.76. Not measured here.
"""

from ..common.distill.classes import kd_points
from .diffkd_r34_r18 import dataloader, distill, lr_multiplier, model, optimizer, train

model.points = kd_points(tau=4.0, weight=1.0)
model.student.loss_weight = 0.9
train.output_dir = "output/imagenet/kd_r34_r18"
