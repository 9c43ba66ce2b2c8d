"""Run an evaluator on a small sample in a temporary folder, so that it fails before the training, not after it."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from detectron2.evaluation import (
    CityscapesInstanceEvaluator,
    CityscapesSemSegEvaluator,
    COCOEvaluator,
    COCOPanopticEvaluator,
    DatasetEvaluator,
    LVISEvaluator,
    PascalVOCDetectionEvaluator,
    SemSegEvaluator,
)
from detectron2.structures import Instances
from detectron2.utils import comm
from detectron2.utils.file_io import PathManager
from PIL import Image

from ..data.images import require_files
from ..errors import UserError
from .third_party import rgb2id
from .trial_datasets import IMAGES, find_cityscapes, try_lvis, try_voc
from .truth import true_instances

logger = logging.getLogger(__name__)

_MASK, _KEYPOINTS = "segmentation", "keypoints"


def try_evaluator(evaluator: DatasetEvaluator) -> str:
    """Evaluate the ground truth of two images as predictions; return a description of the trial for the log.

    It covers COCO's box, mask and keypoint AP, LVIS's and PASCAL VOC's AP, PQ and Detectron2's mIoU. Of Cityscapes'
    evaluators it finds the ground truth; other evaluators are not run. Call it in all processes; the main process makes
    the predictions.

    Raises:
        UserError: if the annotations lack what a task needs, or a file is missing.
    """
    trials = {
        COCOEvaluator: _try_coco,
        LVISEvaluator: try_lvis,
        PascalVOCDetectionEvaluator: try_voc,
        COCOPanopticEvaluator: _try_panoptic,
        SemSegEvaluator: _try_segmentation,
        CityscapesInstanceEvaluator: find_cityscapes,
        CityscapesSemSegEvaluator: find_cityscapes,
    }
    trial = trials.get(type(evaluator))
    if trial is None:
        return "built"
    with _scratch(evaluator) as folder:
        evaluator.reset()
        description = trial(evaluator, folder)
        evaluator.reset()
    return description


@contextmanager
def _scratch(evaluator: Any) -> Iterator[Path]:
    """Let the evaluator write into a temporary folder, without output or log."""
    own = getattr(evaluator, "_output_dir", None)  # PASCAL VOC's and Cityscapes' write into folders of their own
    disabled = logging.root.manager.disable
    with TemporaryDirectory(prefix="trial_") as folder, redirect_stdout(None), np.errstate(all="ignore"):
        if own:
            evaluator._output_dir = folder
        logging.disable(logging.WARNING)
        try:
            yield Path(folder)
        finally:
            if own:
                evaluator._output_dir = own
            logging.disable(disabled)


def _try_coco(evaluator: COCOEvaluator, folder: Path) -> str:
    api = evaluator._coco_api
    if not evaluator._do_evaluation:
        return "built; its json has no annotations"
    tasks = list(evaluator._tasks or ["bbox"])
    unknown = sorted(set(tasks) - {"bbox", "segm", "keypoints"})
    if unknown:
        raise UserError(f"tasks is {tasks}: expected bbox, segm or keypoints")
    most = evaluator._max_dets_per_image[-1]
    if not isinstance(most, int) or most < 10:  # COCOeval sorts [1, 10, most] and takes the last
        raise UserError(f"max_dets_per_image is {most!r}, expected 10 or more")
    _require_annotations(api, tasks, len(evaluator._kpt_oks_sigmas) or 17)
    found = [i for i in api.getImgIds() if any(not a["iscrowd"] for a in api.imgToAnns[i])][:IMAGES]
    if comm.is_main_process():
        for image in found:
            evaluator.process([{"image_id": image}], [{"instances": _truth(evaluator, image, tasks)}])
    results = evaluator.evaluate(img_ids=found)
    values = ", ".join(f"{task} AP {values['AP']:.4g}" for task, values in (results or {}).items())
    return f"tried on the truth of images {found}: {values}"


def _require_annotations(api: Any, tasks: list[str], keypoints: int) -> None:
    annotations = list(api.anns.values())
    without = [a for a in annotations if not a.get(_MASK)]
    if "segm" in tasks and without:
        raise UserError(
            f"{api.file}: {len(without)} of {len(annotations)} annotations have no mask ('segmentation'), the first in "
            f"image {without[0]['image_id']}: take 'segm' out of dataloader.evaluator.tasks, or add masks"
        )
    if "keypoints" in tasks:
        counts = {len(a[_KEYPOINTS]) // 3 for a in annotations if a.get(_KEYPOINTS)}
        if not counts:
            raise UserError(
                f"{api.file}: none of {len(annotations)} annotations has 'keypoints': take 'keypoints' out of "
                "dataloader.evaluator.tasks, or add keypoints"
            )
        if counts != {keypoints}:
            raise UserError(
                f"{api.file}: objects have {sorted(counts)} keypoints, but "
                f"dataloader.evaluator.kpt_oks_sigmas is for {keypoints}"
            )


def _truth(evaluator: COCOEvaluator, image: int, tasks: list[str]) -> Instances:
    """Return the annotations of an image as the predictions of a perfect model."""
    api = evaluator._coco_api
    record = api.imgs[image]
    objects = [a for a in api.imgToAnns[image] if not a["iscrowd"]][:100]
    ids = evaluator._metadata.get("thing_dataset_id_to_contiguous_id")
    classes = [ids[a["category_id"]] if ids else a["category_id"] for a in objects]
    to_mask = api.annToMask if "segm" in tasks else None
    return true_instances(
        (int(record["height"]), int(record["width"])), objects, classes, to_mask, "keypoints" in tasks
    )


def _try_panoptic(evaluator: COCOPanopticEvaluator, folder: Path) -> str:
    metadata = evaluator._metadata
    data = json.loads(Path(metadata.panoptic_json).read_text())
    require_files([str(Path(metadata.panoptic_root) / a["file_name"]) for a in data["annotations"]], "panoptic PNGs")
    data["annotations"] = data["annotations"][:IMAGES]
    ids = {a["image_id"] for a in data["annotations"]}
    data["images"] = [image for image in data["images"] if image["id"] in ids]
    sample = folder / "sample.json"
    sample.write_text(json.dumps(data))
    evaluator._metadata = SimpleNamespace(**{**metadata.as_dict(), "panoptic_json": str(sample)})
    try:
        if comm.is_main_process():
            for annotation in data["annotations"]:
                evaluator.process([annotation], [{"panoptic_seg": _panoptic_truth(metadata, annotation)}])
        results = evaluator.evaluate()
    finally:
        evaluator._metadata = metadata
    value = f"PQ {results['panoptic_seg']['PQ']:.4g}" if results else ""
    return f"tried on the truth of images {sorted(ids)}: {value}"


def _panoptic_truth(metadata: Any, annotation: dict[str, Any]) -> tuple[torch.Tensor, list[dict[str, Any]]]:
    with Image.open(Path(metadata.panoptic_root) / annotation["file_name"]) as image:
        segments = torch.as_tensor(rgb2id(np.asarray(image.convert("RGB"))))
    things, stuff = metadata.thing_dataset_id_to_contiguous_id, metadata.stuff_dataset_id_to_contiguous_id
    found = []
    for segment in annotation["segments_info"]:
        category = segment["category_id"]
        is_thing = category in things
        if not is_thing and category not in stuff:
            raise UserError(f"{metadata.panoptic_json}: category {category} is neither thing nor stuff in the metadata")
        number = (things if is_thing else stuff)[category]
        found.append({"id": segment["id"], "category_id": number, "isthing": is_thing})
    return segments, found


def _try_segmentation(evaluator: SemSegEvaluator, folder: Path) -> str:
    images = list(evaluator.input_file_to_gt_file)[:IMAGES]
    if comm.is_main_process():
        for image in images:
            label_map = evaluator.input_file_to_gt_file[image]
            with PathManager.open(label_map, "rb") as file, Image.open(file) as opened:
                width, height = opened.size
            # Predict class 0 everywhere, with an expanded view, because scores of all classes would take much memory.
            scores = torch.arange(evaluator._num_classes, 0, -1)[:, None, None].expand(-1, height, width)
            evaluator.process([{"file_name": image}], [{"sem_seg": scores}])
    evaluator.evaluate()
    return f"tried on {len(images)} label maps"
