"""Predictions of teacher, alone and student beside the ground truth, on images where the students differ most."""

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from compare_results import DETECTIONS, predictions_of
from detectron2.utils.file_io import PathManager
from PIL import Image
from pycocotools import mask as coco_mask

from diffkd_d2.errors import UserError
from diffkd_d2.visualization.boxes import Box, draw_boxes
from diffkd_d2.visualization.labels import draw_label_map, draw_scores

IMAGES = 6
FEW = 10
IOU = 0.5
SURE_KEYPOINT = 0.05  # the score above which Detectron2's Visualizer draws a keypoint

Folders = dict[str, Path]  # what a column is called -> folder that holds `inference`


@dataclass
class Found:
    """Detections of one model: by image (x, y, w, h), class and score, sorted; which are right; where F1 is highest."""

    by_image: dict[int, list[dict[str, Any]]]
    threshold: float
    f1: dict[int, float]


def detection_picture(evaluator: Any, folders: Folders) -> np.ndarray | None:
    """Return a row of panels for each chosen image: ground truth, then a panel for each model.

    Each model is shown at the score at which its F1 over all images is highest, with at most twice as many detections
    as there are objects, or `FEW`. Masks and keypoints are drawn where a model has them.

    Args:
        evaluator: a COCOEvaluator, for its ground truth.
        folders: of the models; the last two are those that are to differ.
    """
    files = {name: predictions_of(folder, DETECTIONS) for name, folder in folders.items()}
    coco, root = evaluator._coco_api, Path(evaluator._metadata.get("image_root", ""))
    found = {name: match(coco, json.loads(file.read_text())) for name, file in files.items() if file.exists()}
    if not found:
        return None
    classes = {id: i for i, id in enumerate(sorted(coco.cats))}
    names = [coco.cats[id]["name"] for id in sorted(coco.cats)]
    predicted = {key for model in found.values() for of_image in model.by_image.values() for d in of_image for key in d}
    rows = []
    for image_id in most_different(coco, found):
        image = read_image(root / coco.imgs[image_id]["file_name"])
        objects = [a for a in coco.imgToAnns[image_id] if not a.get("iscrowd")]
        panels = {"ground truth": objects}
        for name, model in found.items():
            sure = [d for d in model.by_image[image_id] if d["score"] >= model.threshold]
            shown = sure[: max(2 * len(objects), FEW)]
            count = f"; {len(shown)} of {len(sure)}" if len(shown) < len(sure) else ""
            panels[f"{name} (score > {100 * model.threshold:.0f}{count})"] = shown
        boxes = {title: [_box(e, classes, coco, predicted) for e in entries] for title, entries in panels.items()}
        rows.append(np.hstack([draw_boxes(image, of_panel, names, title) for title, of_panel in boxes.items()]))
    return stack(rows)


def _box(entry: dict[str, Any], classes: dict[int, int], coco: Any, drawn: set[str]) -> Box:
    """Return an annotation or detection of COCO's format, with those of "segmentation" and "keypoints" in `drawn`."""
    x, y, width, height = entry["bbox"]
    outlines: list[np.ndarray] = []
    if "segmentation" in drawn and entry.get("segmentation"):
        contours, _ = cv2.findContours(coco.annToMask(entry), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        outlines = [contour[:, 0] for contour in contours]
    points = np.reshape(entry.get("keypoints", ()) if "keypoints" in drawn else (), (-1, 3))
    visible = points[points[:, 2] > (0 if entry.get("score") is None else SURE_KEYPOINT)]
    label = classes[entry["category_id"]]
    return Box((x, y, x + width, y + height), label, entry.get("score"), outlines, visible[:, :2].tolist())


def stack(rows: list[np.ndarray]) -> np.ndarray:
    """Return rows of any width under each other, on white."""
    width = max(row.shape[1] for row in rows)
    return np.vstack([np.pad(r, ((0, 0), (0, width - r.shape[1]), (0, 0)), constant_values=255) for r in rows])


def read_image(path: str | Path) -> np.ndarray:
    """Return an image file as OpenCV reads it; UserError if it is not there."""
    image = cv2.imread(str(path))
    if image is None:
        raise UserError(f"cannot read the image {path}")
    return np.asarray(image)


def read_labels(path: str) -> np.ndarray:
    """Return a label map (H, W) as Detectron2's evaluator reads it."""
    with PathManager.open(path, "rb") as file, Image.open(file) as image:
        return np.asarray(image)


def match(coco: Any, detections: list[dict[str, Any]]) -> Found:
    """Match detections to objects of their class at IoU 0.5, the surest first; return them with F1 of each image."""
    by_image: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for detection in sorted(detections, key=lambda d: -d["score"]):
        by_image[detection["image_id"]].append(detection)
    right, total = {}, 0
    for image_id in coco.getImgIds():
        objects = [a for a in coco.imgToAnns[image_id] if not a.get("iscrowd")]
        right[image_id] = _right(by_image[image_id], objects)
        total += len(objects)
    scores = np.array([d["score"] for i in right for d in by_image[i]])
    hits = np.array([hit for i in right for hit in right[i]], dtype=float)
    order = np.argsort(-scores)
    f1 = 2 * np.cumsum(hits[order]) / (np.arange(1, len(hits) + 1) + total)
    threshold = float(scores[order][f1.argmax()]) if len(f1) else 1.0
    of_image = {}
    for image_id, hit in right.items():
        shown = [h for d, h in zip(by_image[image_id], hit, strict=True) if d["score"] >= threshold]
        count = sum(not a.get("iscrowd") for a in coco.imgToAnns[image_id])
        of_image[image_id] = 2 * sum(shown) / max(len(shown) + count, 1)
    return Found(by_image, threshold, of_image)


def _right(detections: list[dict[str, Any]], objects: list[dict[str, Any]]) -> list[bool]:
    """Return which detections find an object that no surer one has found."""
    if not objects:
        return [False] * len(detections)
    boxes = [[d["bbox"] for d in entries] for entries in (detections, objects)]
    overlaps = coco_mask.iou(*boxes, [0] * len(objects)) if detections else []
    free, right = set(range(len(objects))), []
    for detection, row in zip(detections, overlaps, strict=True):
        same = [j for j in free if objects[j]["category_id"] == detection["category_id"] and row[j] >= IOU]
        right.append(bool(same))
        if same:
            free.remove(max(same, key=lambda j: row[j]))
    return right


def most_different(coco: Any, found: dict[str, Found]) -> list[int]:
    """Return images with objects, those first where F1 of the last two models differs most."""
    last = list(found.values())[-2:]
    images = [i for i in coco.getImgIds() if any(not a.get("iscrowd") for a in coco.imgToAnns[i])]
    return sorted(images, key=lambda i: -abs(last[-1].f1[i] - last[0].f1[i]))[:IMAGES]


def label_picture(evaluator: Any, folders: Folders) -> np.ndarray | None:
    """Return the same for label maps: images where the pixel accuracy of the last two models differs most.

    Args:
        evaluator: a SemSegEvaluator, for its ground truth.
        folders: as in `detection_picture`.
    """
    files = {name: predictions_of(folder, "sem_seg_predictions.json") for name, folder in folders.items()}
    found = {name: label_maps(json.loads(file.read_text()), evaluator) for name, file in files.items() if file.exists()}
    if not found:
        return None
    labels_of = evaluator.input_file_to_gt_file
    truth = {name: read_labels(labels_of[name]) for name in labels_of}
    last = list(found.values())[-2:]

    def accuracy(maps: dict[str, np.ndarray], file: str) -> float:
        counted = truth[file] != evaluator._ignore_label
        return float((maps[file] == truth[file])[counted].mean()) if counted.any() else 0.0

    chosen = sorted(truth, key=lambda file: -abs(accuracy(last[-1], file) - accuracy(last[0], file)))[:IMAGES]
    rows = []
    for file in chosen:
        maps = {"ground truth": truth[file], **{name: maps[file] for name, maps in found.items()}}
        image = read_image(file)
        rows.append(np.hstack([draw_label_map(image, m, evaluator._class_names, name) for name, m in maps.items()]))
    return stack(rows)


def label_maps(entries: list[dict[str, Any]], evaluator: Any) -> dict[str, np.ndarray]:
    """Return the label map (H, W) of each image out of SemSegEvaluator's `sem_seg_predictions.json`."""
    to_label = {v: k for k, v in (evaluator._contiguous_id_to_dataset_id or {}).items()}
    maps: dict[str, np.ndarray] = {}
    for entry in entries:
        covered = coco_mask.decode(entry["segmentation"]).astype(bool)
        labels = maps.setdefault(entry["file_name"], np.full(covered.shape, evaluator._ignore_label))
        labels[covered] = to_label.get(entry["category_id"], entry["category_id"])
    return maps


def class_picture(batch: dict[str, Any], scores: dict[str, np.ndarray], names: list[str]) -> np.ndarray:
    """Return panels of the images whose true class the last two models find most differently likely.

    Args:
        batch: collated, `image` (N, 3, H, W) RGB in [0, 255] and `label` (N,).
        scores: probabilities (N, K) of each model.
        names: of the classes.
    """
    labels = batch["label"].numpy()
    rows = np.arange(len(labels))
    last = list(scores.values())[-2:]
    chosen = np.argsort(-np.abs(last[-1][rows, labels] - last[0][rows, labels]))[:IMAGES]
    panels = []
    for i in chosen:
        image = batch["image"][i].numpy().transpose(1, 2, 0)[:, :, ::-1].astype(np.uint8).copy()
        panels.append(draw_scores(image, [(name, s[i]) for name, s in scores.items()], int(labels[i]), names))
    return stack([np.hstack(panels[i : i + 3]) for i in range(0, len(panels), 3)])
