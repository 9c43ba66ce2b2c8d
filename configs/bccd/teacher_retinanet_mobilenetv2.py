"""Train a teacher of BCCD from ImageNet weights: RetinaNet on MobileNetV2, 1,200 iterations; see docs/results.md."""

from detectron2.config import LazyCall as L

from diffkd_d2.meta_arch.distilled_model import DistilledModel

from ..common.data.bccd import dataloader
from ..common.models.slim_retinanet import slim_retinanet
from ..common.models.timm_fpn import on_timm
from ..common.strategies.from_scratch import distill, lr_multiplier, optimizer, train

slim = slim_retinanet(50, width=24, channels=96, num_convs=4, num_classes=3)
model = L(DistilledModel)(
    student=on_timm(slim, "mobilenetv2_100", pretrained=False, norm="BN"), points=[], shared_distiller=False
)
del slim
model.student.anchor_generator.sizes = [[20, 25, 32], [40, 50, 64], [80, 100, 126]]
dataloader.train.mapper.image_format = dataloader.test.mapper.image_format = "RGB"
train.init_prefix = "backbone.bottom_up"  # of train.init_checkpoint=torchvision://mobilenet_v2/IMAGENET1K_V1
train.max_iter = train.eval_period = train.checkpointer.period = 1200
train.output_dir = "output/bccd/teacher_retinanet_mobilenetv2"
