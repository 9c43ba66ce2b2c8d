"""Twenty classes of Tiny ImageNet, 64 px, an example of an image folder: `<split>/<class>/*`.

Expected under DETECTRON2_DATASETS: tiny_imagenet20/{train,val}.
"""

from detectron2.config import LazyCall as L
from omegaconf import OmegaConf
from timm.data import create_transform

from diffkd_d2.classification.datasets import LabelledImages, image_folder
from diffkd_d2.classification.loaders import build_classification_test_loader, build_classification_train_loader
from diffkd_d2.evaluation.top_k import TopKEvaluator

dataloader = OmegaConf.create()
dataloader.train = L(build_classification_train_loader)(
    dataset=L(LabelledImages)(
        source=L(image_folder)(root="tiny_imagenet20", split="train"),
        transform=L(create_transform)(
            input_size=64, is_training=True, scale=(0.35, 1.0), color_jitter=None, normalize=False
        ),
        train=True,
    ),
    total_batch_size=64,
    num_workers=1,
)
dataloader.test = L(build_classification_test_loader)(
    dataset=L(LabelledImages)(
        source=L(image_folder)(root="tiny_imagenet20", split="val"),
        transform=L(create_transform)(input_size=64, crop_pct=1.0, normalize=False),
        train=False,
    ),
    batch_size=100,
    num_workers=1,
)
dataloader.evaluator = L(TopKEvaluator)()
