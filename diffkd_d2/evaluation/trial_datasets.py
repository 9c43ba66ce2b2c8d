"""Trials of the evaluators of LVIS, PASCAL VOC and Cityscapes, which `trial.py` calls."""

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

from detectron2.evaluation import CityscapesInstanceEvaluator, LVISEvaluator, PascalVOCDetectionEvaluator
from detectron2.utils import comm
from detectron2.utils.file_io import PathManager

from ..data.images import require_files
from ..errors import UserError
from .third_party import provide_lvis
from .truth import true_instances

IMAGES = 2  # images per trial
_VOC_TAGS = ("name", "pose", "truncated", "difficult", "bndbox")  # that Detectron2's evaluator reads of an object


def try_lvis(evaluator: LVISEvaluator, folder: Path) -> str:
    """Evaluate the truth of two images; LVIS's api is replaced by one of these images meanwhile.

    Args:
        evaluator: it is restored.
        folder: for a json of the two images.
    """
    provide_lvis()  # also for the evaluations to come
    api = evaluator._lvis_api
    if not evaluator._do_evaluation:
        return "built; its json has no annotations"
    tasks = list(evaluator._tasks or ["bbox"])
    found = sorted({a["image_id"] for a in api.dataset["annotations"]})[:IMAGES]
    objects = [a for a in api.dataset["annotations"] if a["image_id"] in found]
    sample = folder / "sample.json"
    images = [image for image in api.dataset["images"] if image["id"] in found]
    sample.write_text(json.dumps({**api.dataset, "images": images, "annotations": objects}))
    ids = evaluator._metadata.get("thing_dataset_id_to_contiguous_id")
    to_mask = api.ann_to_mask if "segm" in tasks else None
    evaluator._lvis_api = type(api)(str(sample))
    try:
        for image in images if comm.is_main_process() else ():
            of_image = [a for a in objects if a["image_id"] == image["id"]]
            classes = [ids[a["category_id"]] if ids else a["category_id"] - 1 for a in of_image]
            truth = true_instances((image["height"], image["width"]), of_image, classes, to_mask)
            evaluator.process([{"image_id": image["id"]}], [{"instances": truth}])
        results = evaluator.evaluate()
    finally:
        evaluator._lvis_api = api
    values = ", ".join(f"{task} AP {values['AP']:.4g}" for task, values in (results or {}).items())
    return f"tried on the truth of images {found}: {values}"


def try_voc(evaluator: PascalVOCDetectionEvaluator, folder: Path) -> str:
    """Check the annotations of all images, and evaluate the truth of two of them.

    Args:
        evaluator: it is restored.
        folder: for a list of the two images.

    Raises:
        UserError: if a file is missing, an object lacks what the evaluator reads, or its class is unknown.
    """
    listed = evaluator._image_set_path
    with PathManager.open(listed) as file:
        names = [line.strip() for line in file]
    files = {name: evaluator._anno_file_template.format(name) for name in names}
    require_files(files.values(), "annotations")
    objects = {name: _voc_objects(evaluator, file) for name, file in files.items()}
    found = [name for name in names if objects[name]][:IMAGES]
    evaluator._image_set_path = str(folder / "images.txt")
    Path(evaluator._image_set_path).write_text("\n".join(found))
    try:
        for name in found if comm.is_main_process() else ():
            boxes = [box for _, box in objects[name]]
            truth = true_instances((0, 0), boxes, [number for number, _ in objects[name]])
            evaluator.process([{"image_id": name}], [{"instances": truth}])
        evaluator.evaluate()
    finally:
        evaluator._image_set_path = listed
    return f"tried on the truth of images {found}"


def _voc_objects(evaluator: PascalVOCDetectionEvaluator, file: str) -> list[tuple[int, dict[str, Any]]]:
    """Return class index and box of each object in an annotation file."""
    found = []
    with PathManager.open(file) as opened:
        objects = ET.parse(opened).findall("object")
    for node in objects:
        absent = [tag for tag in _VOC_TAGS if node.find(tag) is None]
        if absent:
            raise UserError(f"{file}: an object has no <{absent[0]}>, which the evaluator reads")
        name = node.findtext("name")
        if name not in evaluator._class_names:
            raise UserError(f"{file}: class '{name}' is none of {', '.join(evaluator._class_names)}")
        x0, y0, x1, y1 = (float(node.findtext(f"bndbox/{tag}", "nan")) for tag in ("xmin", "ymin", "xmax", "ymax"))
        found.append((evaluator._class_names.index(name), {"bbox": [x0 - 1, y0 - 1, x1 - x0 + 1, y1 - y0 + 1]}))
    return found


def find_cityscapes(evaluator: Any, folder: Path) -> str:
    """Find the ground truth of one of Cityscapes' evaluators, which reads all of it at once.

    Raises:
        UserError: if there is none.
    """
    return f"built; {len(cityscapes_truth(evaluator))} files of ground truth"


def cityscapes_truth(evaluator: Any) -> list[str]:
    """Return the names of the images that have ground truth, such as "aachen_000000_000019".

    Raises:
        UserError: if there is none.
    """
    kind = "instanceIds" if isinstance(evaluator, CityscapesInstanceEvaluator) else "labelIds"
    folder = Path(PathManager.get_local_path(evaluator._metadata.gt_dir))
    files = sorted(folder.glob(f"*/*_gtFine_{kind}.png"))
    if not files:
        raise UserError(f"there is no ground truth: no {folder}/*/*_gtFine_{kind}.png")
    return [re.sub(r"_gtFine_\w+\.png$", "", file.name) for file in files]
