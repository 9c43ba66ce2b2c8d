"""DiffKD on P2 to P5 and on the logits: Semantic FPN slim R18 from slim R50."""

from detectron2.config import LazyCall as L

from diffkd_d2.distillers import DiffKD
from diffkd_d2.meta_arch.distill_point import DistillPoint

from ...configs.shapes.diffkd_semantic_fpn_r18 import dataloader, distill, lr_multiplier, model, optimizer, train

model.points.append(
    L(DistillPoint)(
        student="sem_seg_head.predictor",
        teacher="sem_seg_head.predictor",
        name="logits",
        distiller=L(DiffKD)(student_channels=4, teacher_channels=4, logits=True),
    )
)
train.output_dir = "output/configs_for_tests/diffkd_semantic_fpn_logits_r18"
