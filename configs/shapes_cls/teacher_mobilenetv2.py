"""Fine-tune torchvision's ImageNet MobileNetV2 as a teacher on the 1,600 crops of `shapes`."""

from detectron2.config import LazyCall as L

from diffkd_d2.classification.classifier import Classifier
from diffkd_d2.meta_arch.distilled_model import DistilledModel

from ..common.data.shapes_cls import dataloader
from ..common.strategies.small_classifier import distill, lr_multiplier, optimizer, train

model = L(DistilledModel)(
    student=L(Classifier)(model="torchvision/mobilenet_v2", num_classes=8, feature="features.18", channels_last=True),
    points=[],
    shared_distiller=False,
)
optimizer.lr = 1e-3
train.init_checkpoint = "torchvision://mobilenet_v2/IMAGENET1K_V1"
train.max_iter = train.eval_period = train.checkpointer.period = 400
train.output_dir = "output/shapes_cls/teacher_mobilenetv2"
