"""`shapes`: a procedural dataset in COCO's layout, written to disk once, the same bytes for the same seed.

python -m diffkd_d2.datasets.shapes --root datasets
"""

import argparse
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets import load_coco_json, load_sem_seg
from detectron2.data.datasets.coco_panoptic import load_coco_panoptic_json, merge_to_panoptic
from pycocotools import mask as coco_mask

from ..errors import UserError
from .shapes_render import CLASSES, STUFF, Scene, render_scene

SPLITS = ("train", "val")
KEYPOINTS = ("top", "left", "bottom", "right")
_FORMAT = 3
_CROP_SIZE = 64


def generate(root: str | Path, num_train: int = 2000, num_val: int = 500, size: int = 128, seed: int = 0) -> Path:
    """Write the dataset to `root/shapes` unless it is there already.

    Beside COCO's `train`, `val` and `annotations/instances_*.json` (polygons; RLE for crowd regions and for
    shapes with holes or in pieces; as keypoints the extreme points of ExtremeNet, 1901.08043) it holds the same
    scenes as `sem_seg_*`, as COCO panoptic, and a classification folder `cls/<split>/<class>` of single objects.

    Args:
        root: folder of datasets.
        num_train: images in `train`.
        num_val: images in `val`.
        size: height and width in pixels.
        seed: of everything; each image has a generator of its own.

    Raises:
        UserError: if a dataset of other arguments, or of another version of this file, stands there.
    """
    target = Path(root) / "shapes"
    info = dict(format=_FORMAT, num_train=num_train, num_val=num_val, size=size, seed=seed)
    if not _is_there(target, info):
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=".shapes-", dir=target.parent))
        try:
            for split, count in zip(SPLITS, (num_train, num_val), strict=True):
                _write_split(partial, split, count, size, seed)
                _write_crops(partial, split, max(count // 10, 1), seed)
            (partial / "info.json").write_text(json.dumps(info))
            partial.chmod(0o755)
            partial.rename(target)
        except OSError:
            # Another process may have finished first; its files are identical.
            if not _is_there(target, info):
                raise
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return target


def register_shapes(root: str | None = None) -> None:
    """Register `shapes_{train,val}` with Detectron2, and `..._sem_seg`, `..._panoptic`, `..._panoptic_separated`.

    The files are generated when a dataset is first loaded, not here. A second call changes nothing.

    Args:
        root: folder of datasets; None: DETECTRON2_DATASETS, or `datasets`, as Detectron2 has it.
    """
    root = root or os.environ.get("DETECTRON2_DATASETS", "datasets")
    for split in SPLITS:
        if f"shapes_{split}" not in DatasetCatalog.list():
            _register_split(root, split)


def _is_there(target: Path, info: dict[str, int]) -> bool:
    path = target / "info.json"
    if not path.is_file():
        return False
    found = json.loads(path.read_text())
    if found != info:
        raise UserError(f"{target} was made with {found}, wanted {info}: delete it or choose another root")
    return True


def _write_split(root: Path, split: str, count: int, size: int, seed: int) -> None:
    folders = {name: root / f"{name}{split}" for name in ("", "sem_seg_", "panoptic_")}
    for folder in [*folders.values(), root / "annotations"]:
        folder.mkdir(exist_ok=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    panoptic: list[dict[str, Any]] = []
    for index in range(count):
        scene = render_scene(np.random.default_rng([seed, SPLITS.index(split), index]), size)
        name = f"{index:06d}"
        cv2.imwrite(str(folders[""] / f"{name}.jpg"), scene.image, [cv2.IMWRITE_JPEG_QUALITY, 92])
        images.append(dict(id=index + 1, file_name=f"{name}.jpg", height=size, width=size))
        own = _instances(scene, index + 1, first_id=len(annotations) + 1)
        annotations += own
        sem_seg, ids, segments = _panoptic(scene, own)
        cv2.imwrite(str(folders["sem_seg_"] / f"{name}.png"), sem_seg)
        rgb = np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=2).astype(np.uint8)
        cv2.imwrite(str(folders["panoptic_"] / f"{name}.png"), rgb[:, :, ::-1])
        panoptic.append(dict(image_id=index + 1, file_name=f"{name}.png", segments_info=segments))
    kind = dict(supercategory="shape", isthing=1, keypoints=list(KEYPOINTS), skeleton=[[1, 3], [2, 4]])
    things = [dict(kind, id=i + 1, name=name) for i, name in enumerate(CLASSES)]
    stuff = [dict(id=len(CLASSES) + i + 1, name=n, supercategory="ground", isthing=0) for i, n in enumerate(STUFF)]
    header = dict(info=dict(description="shapes"), images=images)
    _dump(root, f"instances_{split}", dict(header, annotations=annotations, categories=things))
    _dump(root, f"panoptic_{split}", dict(header, annotations=panoptic, categories=things + stuff))


def _dump(root: Path, name: str, data: dict[str, Any]) -> None:
    (root / "annotations" / f"{name}.json").write_text(json.dumps(data))


def _instances(scene: Scene, image_id: int, first_id: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for mask, label, crowd in zip(scene.masks, scene.classes, scene.crowd, strict=True):
        x, y, w, h = cv2.boundingRect(mask.astype(np.uint8))
        found.append(
            dict(
                id=first_id + len(found),
                image_id=image_id,
                category_id=label + 1,
                iscrowd=int(crowd),
                bbox=[x, y, w, h],
                area=int(mask.sum()),
                segmentation=_segmentation(mask, crowd),
                num_keypoints=0 if crowd else len(KEYPOINTS),
                keypoints=[0] * 3 * len(KEYPOINTS) if crowd else _extreme_points(mask),
            )
        )
    return found


def _extreme_points(mask: np.ndarray) -> list[int]:
    """Return x, y, 2 (visible) of the KEYPOINTS; among pixels equally far out the middle one."""
    ys, xs = np.nonzero(mask)
    points = []
    for along, sign in ((ys, 1), (xs, 1), (ys, -1), (xs, -1)):
        outermost = np.flatnonzero(sign * along == (sign * along).min())
        middle = outermost[np.argsort(xs[outermost] + ys[outermost])][len(outermost) // 2]
        points += [int(xs[middle]), int(ys[middle]), 2]
    return points


def _segmentation(mask: np.ndarray, crowd: bool) -> list[list[float]] | dict[str, Any]:
    """Return a polygon if one outline describes the mask, else RLE."""
    outlines, hierarchy = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    has_hole = bool((hierarchy[0, :, 3] >= 0).any())
    if not crowd and not has_hole and len(outlines) == 1 and len(outlines[0]) >= 3:
        # Pixel centres to continuous coordinates.
        return [(outlines[0].reshape(-1) + 0.5).astype(float).tolist()]
    rle = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return dict(size=[int(n) for n in rle["size"]], counts=rle["counts"].decode("ascii"))


def _panoptic(scene: Scene, instances: list[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray, list[dict[str, Any]]]:
    """Return sem-seg labels (0: any thing, then STUFF), segment ids (H, W) and the segments' records."""
    ids = np.zeros(scene.ground.shape, np.int64)
    sem_seg = scene.ground + 1
    segments = []
    for i, (mask, record) in enumerate(zip(scene.masks, instances, strict=True)):
        ids[mask] = len(STUFF) + 1 + i
        sem_seg[mask] = 0
        segments.append({k: record[k] for k in ("category_id", "iscrowd", "bbox", "area")} | {"id": len(STUFF) + 1 + i})
    for i in range(len(STUFF)):
        region = (ids == 0) & (scene.ground == i)
        if region.any():
            ids[region] = i + 1
            box = list(cv2.boundingRect(region.astype(np.uint8)))
            category = len(CLASSES) + i + 1
            segments.append(dict(id=i + 1, category_id=category, iscrowd=0, bbox=box, area=int(region.sum())))
    return sem_seg.astype(np.uint8), ids, segments


def _write_crops(root: Path, split: str, per_class: int, seed: int) -> None:
    """Write the classification folder: 64x64 crops of scenes, each with one object of known class."""
    missing = dict.fromkeys(range(len(CLASSES)), per_class)
    for name in CLASSES:
        (root / "cls" / split / name).mkdir(parents=True)
    index = 0
    while any(missing.values()):
        scene = render_scene(np.random.default_rng([seed, 2 + SPLITS.index(split), index]), 128)
        index += 1
        for mask, label, crowd in zip(scene.masks, scene.classes, scene.crowd, strict=True):
            x, y, w, h = cv2.boundingRect(mask.astype(np.uint8))
            if crowd or not missing[label] or max(w, h) > _CROP_SIZE or mask.sum() < 120:
                continue
            half = _CROP_SIZE // 2
            left = int(np.clip(x + w // 2 - half, 0, 128 - _CROP_SIZE))
            top = int(np.clip(y + h // 2 - half, 0, 128 - _CROP_SIZE))
            missing[label] -= 1
            path = root / "cls" / split / CLASSES[label] / f"{missing[label]:05d}.jpg"
            cv2.imwrite(str(path), scene.image[top : top + _CROP_SIZE, left : left + _CROP_SIZE])


def _register_split(root: str, split: str) -> None:
    base = Path(root) / "shapes"
    name, images = f"shapes_{split}", str(base / split)
    instances = str(base / "annotations" / f"instances_{split}.json")
    panoptic = str(base / "annotations" / f"panoptic_{split}.json")
    panoptic_root, sem_seg_root = str(base / f"panoptic_{split}"), str(base / f"sem_seg_{split}")
    things = {i + 1: i for i in range(len(CLASSES))}
    stuff = {len(CLASSES) + i + 1: i + 1 for i in range(len(STUFF))}
    meta = dict(
        thing_classes=list(CLASSES),
        thing_dataset_id_to_contiguous_id=things,
        # Class 0 of the sem-seg maps is "things", as Detectron2's PanopticFPN expects.
        stuff_classes=["things", *STUFF],
        stuff_dataset_id_to_contiguous_id={0: 0, **stuff},
    )

    # Panoptic-DeepLab has one list of classes for things and stuff, so each needs its own id.
    names = [*CLASSES, *STUFF]
    joint = dict(
        thing_classes=names,
        stuff_classes=names,
        thing_dataset_id_to_contiguous_id=things,
        stuff_dataset_id_to_contiguous_id={k: k - 1 for k in stuff},
    )

    def instance_dicts() -> list[dict[str, Any]]:
        generate(root)
        return load_coco_json(instances, images, name)

    def sem_seg_dicts() -> list[dict[str, Any]]:
        generate(root)
        return load_sem_seg(sem_seg_root, images, gt_ext="png", image_ext="jpg")

    def separated_dicts() -> list[dict[str, Any]]:
        return merge_to_panoptic(instance_dicts(), sem_seg_dicts())

    def panoptic_dicts() -> list[dict[str, Any]]:
        generate(root)
        return load_coco_panoptic_json(panoptic, images, panoptic_root, joint)

    pose = dict(
        keypoint_names=list(KEYPOINTS),
        keypoint_flip_map=[("left", "right")],
        keypoint_connection_rules=[("top", "bottom", (255, 128, 0)), ("left", "right", (0, 128, 255))],
    )
    common = dict(meta, image_root=images, json_file=instances)
    roots = dict(panoptic_root=panoptic_root, panoptic_json=panoptic, sem_seg_root=sem_seg_root)
    for suffix, load, kind, more in (
        ("", instance_dicts, "coco", pose),
        ("_sem_seg", sem_seg_dicts, "sem_seg", dict(sem_seg_root=sem_seg_root, ignore_label=255)),
        ("_panoptic_separated", separated_dicts, "coco_panoptic_separated", dict(roots, ignore_label=255)),
        ("_panoptic", panoptic_dicts, "coco_panoptic_seg", dict(roots, **joint, ignore_label=255, label_divisor=1000)),
    ):
        DatasetCatalog.register(name + suffix, load)
        MetadataCatalog.get(name + suffix).set(evaluator_type=kind, **{**common, **more})


def main() -> None:
    """Generate the dataset from the command line."""
    parser = argparse.ArgumentParser(description="Generate the `shapes` dataset.")
    parser.add_argument("--root", default=os.environ.get("DETECTRON2_DATASETS", "datasets"))
    for name, default in (("num-train", 2000), ("num-val", 500), ("size", 128), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    print(generate(**vars(parser.parse_args())))


if __name__ == "__main__":
    main()
