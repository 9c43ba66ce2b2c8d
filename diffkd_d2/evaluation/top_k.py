"""Top-1 and top-5 accuracy, exact for any number of processes."""

import logging
from collections.abc import Sequence
from typing import Any

import torch
from detectron2.evaluation import DatasetEvaluator
from detectron2.utils import comm
from torch import Tensor

from ..errors import UserError

logger = logging.getLogger(__name__)


class TopKEvaluator(DatasetEvaluator):
    """Compute the percentage of images whose class is among the k highest scores.

    The processes' counts are summed, not their averages, so the number of processes does not change the result.

    Args:
        topk: values of k, at least 1; with fewer than k classes, all classes count.

    Raises:
        UserError: if there is no k, or one is below 1.
    """

    def __init__(self, topk: Sequence[int] = (1, 5)):
        self.topk = tuple(topk)
        if not self.topk or min(self.topk) < 1:
            raise UserError(f"topk is {list(self.topk)}, expected numbers of at least 1")
        self.reset()

    def reset(self) -> None:
        """Reset the counts."""
        self._correct = dict.fromkeys(self.topk, 0)
        self._total = 0

    def process(self, inputs: Any, outputs: Any) -> None:
        """Count a batch: a collated one with scores (N, K), or a list of dicts with `label` and `scores` (K,)."""
        if isinstance(inputs, dict):
            scores, labels = outputs, inputs["label"]
        else:
            scores = torch.stack([x["scores"] for x in outputs])
            labels = torch.as_tensor([int(x["label"]) for x in inputs])
        self._count(scores, labels.to(scores.device))

    def evaluate(self) -> dict[str, dict[str, float]]:
        """Return `{"cls": {"top1": percent, "top5": percent}}` on the main process, an empty dict on the others."""
        gathered = comm.all_gather((self._total, self._correct))
        total = sum(count for count, _ in gathered)
        if not comm.is_main_process():
            return {}
        logger.info(f"evaluated {total} images")
        percent = 100 / max(total, 1)
        return {"cls": {f"top{k}": percent * sum(correct[k] for _, correct in gathered) for k in self.topk}}

    def _count(self, scores: Tensor, labels: Tensor) -> None:
        self._total += len(labels)
        best = scores.topk(min(max(self.topk), scores.shape[1]), dim=1).indices
        hits = best == labels[:, None]
        for k in self.topk:
            self._correct[k] += int(hits[:, :k].sum())
