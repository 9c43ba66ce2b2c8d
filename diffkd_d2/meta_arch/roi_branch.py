"""The teacher's ROI heads on the boxes that the student sampled."""

from typing import Any

from torch import Tensor, nn

from ..errors import UserError
from .capture import capture, find_module

LAST_LAYER = {"mask": "predictor", "keypoint": "score_lowres"}


class RoiBranch:
    """One branch of Detectron2's StandardROIHeads or CascadeROIHeads, run by the teacher on the student's boxes.

    If each model sampled its own proposals, the rows of the two heads' outputs would belong to different boxes.
    Therefore the teacher pools its own features in the student's boxes and runs its head on them. On a point with a
    branch, `teacher` is the path of the module that returns the dict of feature maps.

    Args:
        branch: "box" (output: class logits (R, K+1) and deltas (R, 4K) or (R, 4)), "mask" (logits
            (M, K, 28, 28)) or "keypoint" (scores (M, K, 28, 28) before upsampling).
        stage: index of the call of the student's pooler that gives the boxes: the stage of a cascade, else 0.
        teacher_stage: stage of a teacher that is a cascade. If None, `stage`.
        pooler: path of the student's module that is called with the feature maps and the boxes, such as
            "head.box_pooler". If None, "roi_heads.<branch>_pooler".
        heads: path of the teacher's ROI heads.

    Raises:
        UserError: if there is no such branch.
    """

    def __init__(
        self,
        branch: str = "box",
        stage: int = 0,
        teacher_stage: int | None = None,
        pooler: str | None = None,
        heads: str = "roi_heads",
    ):
        if branch not in ("box", "mask", "keypoint"):
            raise UserError(f"no ROI branch '{branch}'; there are: box, mask, keypoint")
        self.branch, self.stage = branch, stage
        self.teacher_stage = stage if teacher_stage is None else teacher_stage
        self.pooler, self.heads = pooler or f"roi_heads.{branch}_pooler", heads

    def __call__(self, teacher: nn.Module, features: dict[str, Tensor], boxes: list[Any]) -> Any:
        """Return the output of the teacher's head.

        Args:
            teacher: a model with ROI heads.
            features: its feature maps by name, (N, C, H, W) each.
            boxes: Detectron2's `Boxes` of each image, in pixels of the network's input.

        Raises:
            UserError: if the teacher has no such branch or stage.
        """
        heads: Any = find_module(teacher, self.heads)
        pooler = getattr(heads, f"{self.branch}_pooler", None)
        if pooler is None:
            raise UserError(f"the teacher {type(teacher).__name__} has no {self.heads}.{self.branch}_pooler")
        names = getattr(heads, f"{self.branch}_in_features")
        pooled = pooler([features[name] for name in names], boxes)
        head = getattr(heads, f"{self.branch}_head")
        if self.branch != "box":
            with capture(head, [LAST_LAYER[self.branch]]) as outputs:
                head.layers(pooled)
            return outputs[LAST_LAYER[self.branch]]
        predictor = heads.box_predictor
        if isinstance(predictor, nn.ModuleList):
            if self.teacher_stage >= len(predictor):
                raise UserError(f"the teacher's cascade has {len(predictor)} stages, no stage {self.teacher_stage}")
            head, predictor = head[self.teacher_stage], predictor[self.teacher_stage]
        return predictor(head(pooled))
