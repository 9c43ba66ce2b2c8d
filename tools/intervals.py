"""Confidence intervals of a difference: paired t over seeds, bootstrap over images."""

import contextlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools.cocoeval import COCOeval
from scipy import stats

LEVEL = 0.95


def t_interval(differences: Sequence[float]) -> tuple[float, float] | None:
    """Return the paired t interval of the mean difference at `LEVEL`; None for fewer than two seeds.

    Args:
        differences: arm minus baseline, one for each seed that both have.
    """
    if len(differences) < 2:
        return None
    half = stats.t.ppf((1 + LEVEL) / 2, len(differences) - 1) * stats.sem(differences)
    mean = float(np.mean(differences))
    return mean - float(half), mean + float(half)


def percentile_interval(values: np.ndarray) -> tuple[float, float]:
    """Return the central interval at `LEVEL` of bootstrap replicates (B,)."""
    low, high = np.percentile(values, [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    return float(low), float(high)


def draw_images(count: int, resamples: int, seed: int = 0) -> np.ndarray:
    """Return (B, count) of int: how often each image is drawn in each of B samples with replacement."""
    return np.random.default_rng(seed).multinomial(count, [1 / count] * count, size=resamples)


def resampled_ap(evaluator: Any, detections: Path, task: str, counts: np.ndarray) -> np.ndarray:
    """Return COCO AP in percent on samples of images (B,).

    Args:
        evaluator: a COCOEvaluator, for its ground truth and its limit on detections.
        detections: `coco_instances_results.json` of one run.
        task: "bbox" or "segm".
        counts: (B, images) of int: how often each image, in order of its id, is in each sample. A row of ones gives
            the AP of the whole set.
    """
    found = json.loads(detections.read_text())
    if not found:
        return np.zeros(len(counts))
    with contextlib.redirect_stdout(io.StringIO()):
        coco_eval = COCOeval(evaluator._coco_api, evaluator._coco_api.loadRes(found), task)
        coco_eval.params.maxDets = evaluator._max_dets_per_image
        coco_eval.params.areaRng, coco_eval.params.areaRngLbl = coco_eval.params.areaRng[:1], ["all"]
        coco_eval.evaluate()
    per_class = np.array(coco_eval.evalImgs, dtype=object).reshape(len(coco_eval.params.catIds), -1)
    of_class = [_class_ap(row, counts, coco_eval.params.recThrs) for row in per_class]
    return 100 * np.nan_to_num(np.nanmean(of_class, axis=0))


def _class_ap(images: np.ndarray, counts: np.ndarray, recalls: np.ndarray) -> np.ndarray:
    """Return AP of one class on each sample (B,), NaN where it holds no object, as COCOeval.accumulate has it."""
    there = [(i, image) for i, image in enumerate(images) if image is not None]
    objects = np.zeros(len(images), dtype=int)
    for i, image in there:
        objects[i] = np.count_nonzero(np.asarray(image["gtIgnore"]) == 0)
    total = counts @ objects
    result = np.where(total > 0, 0.0, np.nan)
    if not there or not sum(len(image["dtScores"]) for _, image in there):
        return result
    order = np.argsort(-np.concatenate([image["dtScores"] for _, image in there]), kind="mergesort")
    source = np.concatenate([[i] * len(image["dtScores"]) for i, image in there]).astype(int)[order]
    matched = np.concatenate([image["dtMatches"] for _, image in there], axis=1)[:, order] != 0
    counted = ~np.concatenate([image["dtIgnore"] for _, image in there], axis=1)[:, order].astype(bool)
    for sample in np.flatnonzero(total > 0):
        weight = counts[sample][source]
        true = np.cumsum(weight * (matched & counted), axis=1)
        false = np.cumsum(weight * (~matched & counted), axis=1)
        precision = true / np.maximum(true + false, np.spacing(1))
        precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        result[sample] = np.mean([_at(p, t / total[sample], recalls) for p, t in zip(precision, true, strict=True)])
    return result


def _at(precision: np.ndarray, recall: np.ndarray, recalls: np.ndarray) -> np.ndarray:
    where = np.searchsorted(recall, recalls, side="left")
    return np.append(precision, 0.0)[where]
