"""What tests of evaluators share: a model that knows the truth, and a config of test data."""

import torch
from detectron2.config import LazyCall as L
from detectron2.evaluation import (
    COCOEvaluator,
    DatasetEvaluator,
)
from detectron2.structures import Boxes, Instances
from omegaconf import OmegaConf
from small_data import evaluation_loader
from torch import nn

from diffkd_d2.engine.evaluation import evaluate
from diffkd_d2.engine.evaluators import build_test_sets
from diffkd_d2.engine.outputs import try_outputs


class Perfect(nn.Module):
    """Answers with the truth of a COCO json."""

    def __init__(self, data: dict, masks: bool = False):
        super().__init__()
        self.data, self.masks, self.calls = data, masks, 0

    def forward(self, inputs):
        self.calls += 1
        return [{"instances": self.answer(x["image_id"])} for x in inputs]

    def answer(self, image: int) -> Instances:
        numbers = {number: i for i, number in enumerate(sorted(c["id"] for c in self.data["categories"]))}
        found = [a for a in self.data["annotations"] if a["image_id"] == image]
        instances = Instances((8, 12))
        boxes = torch.tensor([a["bbox"] for a in found], dtype=torch.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        instances.pred_boxes, instances.scores = Boxes(boxes), torch.ones(len(found))
        instances.pred_classes = torch.tensor([numbers[a["category_id"]] for a in found])
        if self.masks:
            instances.pred_masks = torch.zeros(len(found), 8, 12, dtype=torch.bool)
        return instances


class Own(DatasetEvaluator):
    """An evaluator of a user's own."""

    def __init__(self, dataset_name: str = "", broken: bool = False):
        if broken:
            raise RuntimeError("in the user's own code")
        self.seen = 0

    def process(self, inputs, outputs):
        self.seen += len(inputs)

    def evaluate(self):
        return {"own": {"images": self.seen}}


def config(names, evaluator=None, **options):
    """Return a config of test data with COCO's evaluator."""
    usual = {"dataset_name": "${..test.dataset.names}", "tasks": ["bbox"], "use_fast_impl": False}
    evaluator = evaluator or L(COCOEvaluator)(**{**usual, **options})
    cfg = OmegaConf.create(flags={"allow_objects": True})
    cfg.dataloader = dict(test=evaluation_loader(names), evaluator=evaluator)
    return cfg


def judge(cfg, model):
    """Build, try and evaluate."""
    sets = build_test_sets(cfg, model)
    try_outputs(model, sets)
    return evaluate(model, sets)
