"""Train a MobileNetV2 student of BCCD alone, from torchvision's ImageNet weights: RetinaNet, 400 iterations."""

from detectron2.config import LazyCall as L

from diffkd_d2.meta_arch.distilled_model import DistilledModel

from ..common.data.bccd import dataloader
from ..common.models.slim_retinanet import slim_retinanet
from ..common.models.timm_fpn import on_timm
from ..common.strategies.from_scratch import distill, lr_multiplier, optimizer, train

slim = slim_retinanet(18, width=32, channels=64, num_convs=2, num_classes=3)
model = L(DistilledModel)(
    student=on_timm(slim, "mobilenetv2_100", pretrained=False, norm="BN"), points=[], shared_distiller=False
)
del slim
model.student.anchor_generator.sizes = [[20, 25, 32], [40, 50, 64], [80, 100, 126]]
dataloader.train.mapper.image_format = dataloader.test.mapper.image_format = "RGB"
train.init_checkpoint, train.init_prefix = "torchvision://mobilenet_v2/IMAGENET1K_V1", "backbone.bottom_up"
train.max_iter = train.eval_period = train.checkpointer.period = 400
train.output_dir = "output/bccd/alone_retinanet_mobilenetv2"
