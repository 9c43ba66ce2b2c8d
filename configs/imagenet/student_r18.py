"""ResNet-18 alone, strategy B1. Reported top-1 (torchvision's weights): 69.76. Not measured here."""

from .diffkd_r34_r18 import dataloader, distill, lr_multiplier, model, optimizer, train

model.points = []
model.pop("teacher")
train.output_dir = "output/imagenet/student_r18"
