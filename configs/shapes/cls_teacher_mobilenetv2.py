"""A classifier of `shapes` as teacher: torchvision's MobileNetV2 of ImageNet, tuned on the 1,600 images."""

from detectron2.config import LazyCall as L

from diffkd_d2.classification.classifier import Classifier

from ..common.data.shapes_cls import dataloader
from ..tiny_imagenet.student import distill, lr_multiplier, model, optimizer, train

model.student = L(Classifier)(
    model="torchvision/mobilenet_v2", num_classes=8, feature="features.18", channels_last=True
)
optimizer.lr = 1e-3
train.init_checkpoint = "torchvision://mobilenet_v2/IMAGENET1K_V1"
train.max_iter = train.eval_period = train.checkpointer.period = 400
train.amp.dtype = None  # bfloat16 slows depthwise convolutions on a CPU
train.output_dir = "output/shapes/cls_teacher_mobilenetv2"
