"""Template of a config: copy it to configs/<your name>.py and change what you need. Unchanged, it trains on COCO."""

from detectron2.config import LazyCall as L

from diffkd_d2.distillers import DiffKD
from diffkd_d2.meta_arch.distill_point import DistillPoint
from diffkd_d2.meta_arch.distilled_model import DistilledModel

# In a folder of its own (configs/mine/x.py), write `..common` for `.common`.
from .common.data.coco import dataloader
from .common.models.zoo import zoo_model, zoo_teacher
from .common.strategies.coco_1x import distill, lr_multiplier, optimizer, train

model = L(DistilledModel)(
    # Any Detectron2 model: one of the zoo by name, or a LazyCall such as L(RetinaNet)(backbone=..., ...).
    student=zoo_model("COCO-Detection/retinanet_R_50_FPN_1x"),
    # A model with weights: zoo_teacher, load_teacher(model, weights), or teacher_trained_by("teacher_x.py").
    teacher=zoo_teacher("COCO-Detection/retinanet_R_101_FPN_3x"),
    # Where to distil, and how: one entry for each pair of outputs. docs/your_model.md lists the paths.
    points=[
        L(DistillPoint)(
            student="backbone",  # path of a module in the student, and in the teacher
            teacher="backbone",
            key=level,  # selects a part of the module's output
            weight=1.0,  # factor on the losses of this point
            distiller=L(DiffKD)(student_channels=256, teacher_channels=256, latent_channels=64),
        )
        for level in ("p3", "p4", "p5", "p6", "p7")
    ],
    # If True, all levels share one distiller.
    shared_distiller=False,
)

# The command line can override each of these: train_net.py ... optimizer.lr=0.01
dataloader.train.total_batch_size = 16
optimizer.lr = 0.01
train.max_iter = 90000
train.output_dir = "output/template"
